"""Reading topics as people do: from any place to any place, without a group, committed records only."""
