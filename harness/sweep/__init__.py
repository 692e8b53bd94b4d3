"""From a sweep file to a report: plan, storage, workers, statistics."""
