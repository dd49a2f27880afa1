#!/bin/sh
# Run once by the image on an empty volume: a database per service and three roles for each.
# The owner migrates, the service works with the least rights, the connector reads the log.
set -eu
role() { # name, password, more
  psql -v ON_ERROR_STOP=1 --username postgres -c "CREATE ROLE $1 LOGIN PASSWORD '$2' $3"
}
for service in orders payments customers; do
  role "${service}_owner" "${service}_owner" ""
  role "$service" "$service" ""
  role "${service}_connector" "${service}_connector" "REPLICATION"
  psql -v ON_ERROR_STOP=1 --username postgres -c "CREATE DATABASE $service OWNER ${service}_owner"
  psql -v ON_ERROR_STOP=1 --username postgres -c "REVOKE CONNECT ON DATABASE $service FROM PUBLIC" \
    -c "GRANT CONNECT ON DATABASE $service TO ${service}, ${service}_connector"
done
