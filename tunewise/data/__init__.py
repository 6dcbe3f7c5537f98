"""Reading tables, built-in corpora, splits, audits."""
