"""Changes to an index between rebuilds: photos that are added or removed, labels, a way back, compaction."""
