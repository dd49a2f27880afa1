"""Event-sourced orders and inventory on Kafka: hosts the parts, and listens to people."""
