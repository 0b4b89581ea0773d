"""What people send from a page: which act it is, whether it is whole, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args
from urllib.parse import parse_qs, urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request

from interlock.errors import NotFound, Stale, Unusable
from interlock.web.inbox_views import Seen
from interlock.web.views import Act

WORDS: Mapping[Act, tuple[str, str]] = {
    "hold": ("Hold", "The share stays where it is until somebody promotes or rolls back."),
    "rollback": ("Roll back", "All services leave this release with one write, for the stable one. "
                 "This version cannot be proposed again unchanged."),
    "promote": ("Promote", "The next stage starts for all services at once, if nothing objects."),
    "approve": ("Sign", "You sign exactly this plan; any later edit of it voids your signature."),
    "reject": ("Reject", "The change goes back to its author, who reads your reason. "
               "Nothing starts while a rejection of this plan stands."),
    "withdraw": ("Withdraw", "The change is closed. It stays in the record with its evidence."),
}  # fmt: skip
DONE: Mapping[Act, str] = {
    "hold": "Held. Nothing moves forward until somebody promotes or rolls back.",
    "rollback": "Rolled back. No service answers from it any more.",
    "promote": "Promotion accepted.",
    "approve": "Signed.",
    "reject": "Rejected. Its author reads your reason.",
    "withdraw": "Withdrawn. It stays in the record.",
}
MUST_EXPLAIN = frozenset({"hold", "rollback", "reject", "withdraw"})
SIGNS = frozenset({"approve", "reject"})


def nothing(request: Request) -> NotFound:
    """What is said where there is no page."""
    return NotFound(f"nothing has the address {request.url.path}", "start from the list of changes")


def act_of(request: Request) -> Act:
    """Which act the address names; raises `NotFound`."""
    act = request.path_params["act"]
    if act not in get_args(Act):
        raise nothing(request)
    return act  # type: ignore[no-any-return]  # checked on the line above


def fields(body: bytes) -> dict[str, str]:
    """What was filled in; raises `Unusable` for bytes that no form sends."""
    try:
        return {key: values[-1].strip() for key, values in parse_qs(body.decode()).items()}
    except ValueError as error:
        raise Unusable("the form cannot be read", "send it from the page") from error


def seen_in(form: Mapping[str, str]) -> Seen:
    """As whom, and which plan was on the page that the form stood on."""
    role = form.get("role", "").replace(" ", "_")
    return Seen(role, form.get("team", ""), form.get("plan", ""))


def refuse_moved(id: str, shown: str, now: str) -> None:
    """Raises `Stale` when a link led here from a page that showed another plan."""
    if shown and shown != now:
        raise Stale(
            f"the plan of {id} changed since you looked; nothing was signed",
            help="look at it again, then decide about what you see",
        )


def refuse_incomplete(act: Act, by: str, form: Mapping[str, str]) -> None:
    """Raises `Unusable` with everything that is missing."""
    missing = [] if by else ["say who you are"]
    if act in MUST_EXPLAIN and not form.get("reason"):
        missing.append("give a reason: it is kept in the record")
    if act in SIGNS:
        missing += [f"name the {key}" for key in ("role", "team") if not form.get(key)]
        if not form.get("plan"):
            missing.append("say which plan you saw: the page puts it into its form")
    if missing:
        raise Unusable("the form is not complete", "go back and fill it in", missing)


def refuse_other_origins(request: Request) -> None:
    """A form counts only if the browser says it stood on one of our own pages."""
    origin = request.headers.get("origin", "")
    if not origin or urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, "the form was not sent from a page of this server")
