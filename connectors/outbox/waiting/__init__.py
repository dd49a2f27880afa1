"""Order under failure: rows that Kafka refused, the rows of their aggregates that wait behind them, and their mending."""
