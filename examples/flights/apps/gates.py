"""Gates: what a flight adds to the number of flights expected late in its hour."""

from shared import main


def decide(score: float) -> dict[str, float]:
    return {"expected_late": score}


if __name__ == "__main__":
    main("gates", decide)
