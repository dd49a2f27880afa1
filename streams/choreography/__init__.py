"""The order flow without an orchestrator: each participant follows the others' events. It stands beside the saga to compare.

Three followers, each with its own copy of what it knows of an order (`known`), each with one rule (`owing`):
    stock     ORDER_CREATED -> RESERVE_STOCK a line; rejected or cancelled -> RELEASE_STOCK; shipped -> SHIP_STOCK
    payments  all lines reserved -> AUTHORISE_PAYMENT; confirmed -> CAPTURE_PAYMENT; rejected or cancelled -> VOID_PAYMENT
    orders    authorised -> CONFIRM_ORDER; refused, declined or too late -> REJECT_ORDER
The participants are the same, fences included, and the order still arbitrates its end; so the same invariants hold, and
the same simulation shows it (`tests/streams/choreography`). What differs is what one can ask and change:
    - where an order stands is known to nobody: it is pieced together from three places; the saga has one row
    - a new step touches every follower that has to hear of it; in the saga it is one line of a declaration
    - the lines of all orders are re-keyed to every follower: three copies of what one saga row holds
    - there is nobody to act on for an operator: no retry, skip or complete, no one deadline, no one history
    + no process through which everything goes, and no answers: a participant's events are all that it says
The product runs the saga. Nothing deploys this package.
"""
