"""The settings of the tests: fixed, whatever the developer's .env and environment say."""

import os
import re
from pathlib import Path

from tests.processes import SECRET, VIRTUAL_NUMBER

EXAMPLE = Path(__file__).resolve().parent.parent / ".env.example"

for name in re.findall(r"^([A-Z_]+)=", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE):
    os.environ[name] = ""
    os.environ.pop(f"{name}_FILE", None)

# The web's time limits (delivery_sms/wsgi.py) are not for a process in which eight threads wait for one another.
os.environ["PGOPTIONS"] = ""

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

# A server that starts before the test database would take one connection in memory for all its threads.
if DATABASE["ENGINE"].endswith("sqlite3"):
    DATABASE["NAME"] = DATABASE["TEST"]["NAME"]
