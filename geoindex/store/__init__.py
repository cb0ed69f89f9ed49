"""The index on disk: durable files, Lance tables, generations."""
