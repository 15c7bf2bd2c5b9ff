"""What README promises, in an environment with only the built wheel: `make test-wheel`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import dann_transfer
from dann_transfer import DomainAdapter, datasets

assert "site-packages" in dann_transfer.__file__, "the clone was imported instead of the wheel"
program = Path(sys.executable).with_name("dann-transfer")
shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
assert shown.stdout.strip() == dann_transfer.__version__

movies = ["a moving, funny film", "dull and far too long"] * 8
tweets = ["loved it!!", "ugh, worst day ever", "so happy rn"] * 4
adapter = DomainAdapter(datasets.encoder("minilm"), method="student", epochs=1, progress=False)
adapter.fit(movies, ["good", "bad"] * 8, X_target=tweets)
assert set(adapter.predict(tweets)) <= {"good", "bad"}
assert adapter.predict_proba(tweets).shape == (12, 2)
assert adapter.transform(tweets).shape == (12, 384)
with TemporaryDirectory() as folder:
    adapter.save_pretrained(Path(folder, "model"))
    loaded = DomainAdapter.from_pretrained(Path(folder, "model"))
    assert (loaded.predict_proba(tweets) == adapter.predict_proba(tweets)).all()
print(f"dann_transfer {dann_transfer.__version__} works from its wheel.")
