from pathlib import Path

from defect_detection.use_cases.demo import demo_config


def test_the_demo_has_its_own_store_and_data_whatever_the_project_uses(tmp_path: Path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "config.yaml").write_text(
        f"report_dir: {elsewhere}/reports\nbundle_dir: {elsewhere}/model\nrecords: {{images_dir: {elsewhere}/images}}\n"
        f"data: {{train_dir: {elsewhere}/train, test_dir: ../test, feedback_dir: {elsewhere}/feedback}}\n"
        "training: {hyperparameter_sets: [{name: only}]}\n"
    )
    monkeypatch.chdir(tmp_path)
    for variable in ("MLFLOW_TRACKING_URI", "DATABASE_URL"):
        monkeypatch.setenv(variable, f"sqlite:///{elsewhere}/real.db")
    for folder in (Path(), Path("demo")):
        folder.mkdir(exist_ok=True)
        (folder / ".env").write_text(
            "MLFLOW_TRACKING_URI=http://real:5000\nDATABASE_URL=postgresql://real/x\n"
        )
    config = demo_config(Path("demo"))
    demo = tmp_path / "demo"
    assert config.tracking_uri == f"sqlite:///{demo}/mlflow.db"
    assert config.database_url == f"sqlite:///{demo}/inspections.db"
    written = [config.cache_dir, config.report_dir, config.bundle_dir, config.best_model_info]
    written += [
        config.records.images_dir,
        config.data.train_dir,
        config.data.test_dir,
        config.data.challenge_dir,
    ]
    assert all(path.is_relative_to(demo) for path in written)
    assert config.data.feedback_dir is None
