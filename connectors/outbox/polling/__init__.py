"""The polling connector, for databases without logical replication: the same rules, the table asked instead of the log.

Steps of a batch: 1. buckets of aggregates are locked; 2. their next rows are read; 3. the rows are handed to Kafka;
4. their status is written; 5. Kafka's transaction is committed, with a record of which rows it holds; 6. the database's is.
A death before 5 leaves nothing; one between 5 and 6 is found by that record, so that the rows are not sent again.
"""
