"""May it go: evidence, sign-offs, policy, calendar, audit."""
