"""Rebooking: offers passengers another connection when a flight is more likely late than not."""

from shared import main


def decide(score: float) -> dict[str, bool]:
    return {"offer": score >= 0.5}


if __name__ == "__main__":
    main("rebooking", decide)
