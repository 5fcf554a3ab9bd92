"""Run by Alembic: takes the connection that `defect_detection.records.database.migrate` passes."""

from alembic import context

from defect_detection.records.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    transactional_ddl=True,  # SQLite can, once its transaction is begun explicitly
)
with context.begin_transaction():
    context.run_migrations()
