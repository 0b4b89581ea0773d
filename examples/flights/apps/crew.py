"""Crew: how much a flight wants one of the day's reserve crews."""

from shared import main


def decide(score: float) -> dict[str, float]:
    return {"rank_by": score}


if __name__ == "__main__":
    main("crew", decide)
