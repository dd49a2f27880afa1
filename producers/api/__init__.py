"""The HTTP interface: writes go to the services, reads to the workers that own the rows."""
