"""Run by Alembic: takes the connection that `defect_detection.records.database.migrate` passes."""

from alembic import context

from defect_detection.records.tables import BaseTable

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=BaseTable.metadata,
    transactional_ddl=True,  # SQLite can, once its transaction is begun explicitly
)
with context.begin_transaction():
    context.run_migrations()
