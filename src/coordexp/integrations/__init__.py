"""CoordExp inside other people's trainers: `ms_swift` (ms-swift 4.6), `trl` (TRL 1.16)."""
