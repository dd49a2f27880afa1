"""The order saga: reserve, authorise, confirm, capture; or all of it undone."""
