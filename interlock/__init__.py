"""Interlock: one change, from warehouse column to the services that act on the prediction.

The rooms, in the order a change walks through them. A room may import the rooms
above it in this list, never the ones below it.

    errors    everything Interlock can say no to, each with a code and a next step
    define    what teams declare: tables, features, models, services, policies, owners
    ports     everything needed from outside, on one page
    impact    what reads what, column by column, and so what a change will break
    features  feature SQL compiled: point in time, materialised, compared, replayed
    models    datasets, evaluation, comparison with the incumbent by slices
    plan      the difference from what runs today, as an ordered list of steps
    change    may it go: evidence, sign-offs, policy, calendar, audit, review
    rollout   how far it has gone: cohorts, stages, the judge, the way back
    serve     which version answers this request, from which row, how old
    watch     what happened: calibration from arrived labels, drift
    retrain   when a model is due, and what to propose
    client    what a service holds: assignment, header, middleware, flags
    adapters  one file per engine; the only place that imports heavy libraries
    app       the only place handed something that writes; it closes the loop
    cli, web  the faces: read arguments, call app, show a value
    testing   shipped: generated data, a fixed clock, contract suites for adapters
"""

__version__ = "0.1.0"
