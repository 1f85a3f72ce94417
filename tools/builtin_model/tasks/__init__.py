"""What folio learns, one file per task; every sentence here is written for this corpus."""
