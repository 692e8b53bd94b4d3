"""Study in, plan out: run groups, prices, plan.json."""
