"""How far it has gone: cohorts, stages, the judge, the way back."""
