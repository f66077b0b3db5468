"""The settings of the tests: fixed, whatever the developer's .env and environment say."""

import os
import re
import secrets
import tempfile
from pathlib import Path

from tests.processes import SECRET, VIRTUAL_NUMBER

EXAMPLE = Path(__file__).resolve().parent.parent / ".env.example"

for name in re.findall(r"^([A-Z_]+)=", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE):
    os.environ[name] = ""
    os.environ.pop(f"{name}_FILE", None)

# Names the databases of one run, so that two runs at a time do not meet. The workers of pytest-xdist and
# the processes that tests start inherit it.
RUN = os.environ.setdefault("TEST_RUN", secrets.token_hex(4))

# In place of the web's time limits (delivery_sms/wsgi.py), which are not for a process in which eight threads
# wait for one another. No test is about a commit that a power cut loses.
os.environ["PGOPTIONS"] = "-c synchronous_commit=off"

os.environ.update(
    ENV_FILE=os.devnull,
    SECRET_KEY="only-for-tests-" * 4,
    ALLOWED_HOSTS="localhost,127.0.0.1",
    DATABASE_URL=os.environ.get("TEST_DATABASE_URL") or "sqlite://:memory:",
    TIME_ZONE="Europe/London",
    COMPANY_NAME="Acme",
    COMPANY_PHONE="+44 20 7946 0000",
    PHONE_REGION="GB",
    QUIET_HOURS="",
    SMS_GATEWAY="simulator",
    ALLOW_SIMULATOR="True",
    VONAGE_NUMBERS=VIRTUAL_NUMBER,
    VONAGE_SIGNATURE_SECRETS=f"{SECRET},{'second-secret-' * 4}",
    VONAGE_SIGNATURE_METHOD="sha256",
)

from delivery_sms.settings import *

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

if DATABASE["ENGINE"].endswith("sqlite3"):
    # A file: each thread needs a connection of its own, which a database in memory does not have.
    name = f"{tempfile.gettempdir()}/delivery_sms_test_{RUN}.sqlite3"
    DATABASE |= {"NAME": name, "TEST": {"NAME": name}}
    options = DATABASE["OPTIONS"]
    options["init_command"] = options["init_command"].replace("synchronous=FULL", "synchronous=OFF")
else:
    DATABASE["TEST"] = {"NAME": f"{DATABASE['NAME']}_test_{RUN}"}
