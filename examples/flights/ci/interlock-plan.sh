#!/usr/bin/env bash
# Plan this project and keep ONE comment on the pull request up to date with the result.
#
# Ends with 0 when the plan could be proposed (or there is nothing to do), and with the exit
# code of `interlock plan` when it is refused (3), stale (5) or an engine is away (6).
#
# Reads GITHUB_REPOSITORY (owner/name), PR_NUMBER and GITHUB_TOKEN; without a token, as on the
# pull request of a fork, the comment is printed instead of posted. GITHUB_API_URL,
# INTERLOCK_PROJECT (default: here) and INTERLOCK_ENV (default: prod) may be set too.
set -euo pipefail

project=${INTERLOCK_PROJECT:-.}
environment=${INTERLOCK_ENV:-prod}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

code=0
interlock plan --comment --json -C "$project" -e "$environment" \
  >"$work/plan.json" 2>"$work/refused.json" || code=$?

# The comment, and the line by which the next run finds it. A plan that could not even be made
# (a definition is wrong, no such environment) gets the same marker, so that it writes over the
# same comment.
python3 - "$work" "$project" "$environment" <<'PYTHON'
import html, json, pathlib, re, sys

work, project, environment = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
text = (work / "plan.json").read_text()
if text.strip():
    made = json.loads(text)
    marker, body = made["marker"], made["body"]
else:
    name = ""
    if (project / "interlock.yaml").is_file():
        main = (project / "interlock.yaml").read_text(encoding="utf-8", errors="replace")
        found = re.search(r"^name:\s*[\"']?([^\"'\s#]+)", main, re.M)
        name = found[1] if found else ""
    plain = [re.sub(r"[^A-Za-z0-9_.-]", "-", part) for part in (name, environment)]
    marker = f"<!-- interlock plan {plain[0]} {plain[1]} -->"
    said = (work / "refused.json").read_text().strip()
    try:
        told = json.loads(said.splitlines()[-1])
        lines = [told["message"], *(f"- {one}" for one in told["objections"]), told["help"]]
    except (IndexError, KeyError, ValueError):
        lines = [said[-3000:] or "it said nothing"]
    said = html.escape("\n".join(lines), quote=False).replace("@", "&#64;")[:50_000]
    body = f"{marker}\n### Interlock: no plan could be made\n\n<pre>{said}</pre>\n"
(work / "marker.txt").write_text(marker)
(work / "body.md").write_text(body)
(work / "body.json").write_text(json.dumps({"body": body}))
PYTHON

if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then cat "$work/body.md" >>"$GITHUB_STEP_SUMMARY"; fi

# The token goes in through a file, so that no list of processes shows it.
api() {
  curl --silent --show-error --fail-with-body --max-time 30 --retry 2 \
    --config <(printf 'header = "Authorization: Bearer %s"\n' "$GITHUB_TOKEN") \
    --header "Accept: application/vnd.github+json" \
    --header "X-GitHub-Api-Version: 2022-11-28" "$@"
}

if [ -z "${GITHUB_TOKEN:-}" ] || [ -z "${PR_NUMBER:-}" ]; then
  cat "$work/body.md"
else
  comments="${GITHUB_API_URL:-https://api.github.com}/repos/$GITHUB_REPOSITORY/issues"
  page=1
  id=""
  while [ -z "$id" ]; do
    api "$comments/$PR_NUMBER/comments?per_page=100&page=$page" >"$work/page.json"
    found=$(python3 - "$work" <<'PYTHON'
import json, pathlib, sys

work = pathlib.Path(sys.argv[1])
page = json.loads((work / "page.json").read_text())
marker = (work / "marker.txt").read_text()
mine = [str(one["id"]) for one in page if (one["body"] or "").startswith(marker)]
print(mine[0] if mine else "next" if len(page) == 100 else "none")
PYTHON
    )
    case "$found" in
      next) page=$((page + 1)) ;;
      none) break ;;
      *) id=$found ;;
    esac
  done
  if [ -n "$id" ]; then
    api --request PATCH --data-binary "@$work/body.json" "$comments/comments/$id" >/dev/null
    echo "updated comment $id"
  else
    api --request POST --data-binary "@$work/body.json" "$comments/$PR_NUMBER/comments" >/dev/null
    echo "posted a comment"
  fi
fi

# 2 says that there is something to do: that is what a pull request is for.
if [ "$code" = 2 ]; then code=0; fi
exit "$code"
