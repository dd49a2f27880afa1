"""Where a table partition's rows lie: in memory, or in RocksDB."""
