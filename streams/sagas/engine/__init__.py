"""Sagas declared as data, and the engine that runs any of them.

A saga of your own takes three things; `docs/sagas.md` has a small one that runs, and the order saga
(`streams.sagas.steps`, `order`, `state`) is the large example.

1. A state: a frozen dataclass that extends `SagaState` with what your commands need, and a `verdict`: what the
   aggregate that decides about the end (the arbiter) has said so far. Have none: leave UNDECIDED, and the answer to
   `give_up` ends it.
2. A `Declaration`: steps in the order in which they are taken. A COMPENSATABLE step names the compensation that undoes
   it, which must be harmless when it comes late, twice or before its step. After the PIVOT nothing is undone unless the
   arbiter says so; what follows is RETRIABLE. `give_up` names the compensation that asks the arbiter to give up.
   A step with `parts` fans out: one command a part, all at once. One with `applies` is left out where that says no,
   so that two kinds of pivot stand side by side. `afterwards` are steps that events start once the saga has ended; one
   that recurs starts by itself as often as your state has parts for it: your `moved` adds them, opens the saga again
   and takes away what was answered, and each part has a number that no other ever has.
3. A `decide` of a few lines that turns your inputs into acts of a `Draft` (say, answer, start) and ends with `go_on`.

State is the fold of the saga's own events (`engine.folding`), inputs may come repeated and in any order, time comes in
as `at`, and ids follow from the saga's: so a saga needs no database of its own, no clock and no lock.
"""
