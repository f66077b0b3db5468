"""All settings of the project. Each environment variable is in .env.example and docs/configuration.md.

What must stop a start is raised here: system checks do not run under a foreign web server.
"""

from datetime import time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static

from delivery_sms import environment
from delivery_sms.environment import Env

BASE_DIR = Path(__file__).resolve().parent.parent

env = Env()
environment.read_env_file(BASE_DIR / ".env")

# The process

DEBUG: bool = env.bool("DEBUG", default=False)
SECRET_KEY: str = env.str("SECRET_KEY")
SECRET_KEY_FALLBACKS: list[str] = env.list("SECRET_KEY_FALLBACKS", default=[])
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=[])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])
# True: a proxy in front of us ends TLS, sets X-Forwarded-For and -Proto, and is the only way in.
BEHIND_PROXY: bool = env.bool("BEHIND_PROXY", default=False)

LOG_FORMAT: str = env("LOG_FORMAT", cast=environment.one_of("line", "json"), default="line")

# The company

TIME_ZONE: str = env("TIME_ZONE", cast=environment.time_zone, default="Europe/London")
COMPANY_NAME: str = env.str("COMPANY_NAME", default="Acme Deliveries")
COMPANY_PHONE: str = env.str("COMPANY_PHONE", default="+44 20 7946 0000")
PHONE_REGION: str = env(
    "PHONE_REGION", cast=environment.matching("[A-Z]{2}", "two capitals, such as GB"), default="GB"
)
# Left empty it means none, unlike the others, where empty means the default.
QUIET_HOURS: tuple[time, time] | None = env(
    "QUIET_HOURS",
    cast=environment.quiet_hours,
    default=None if env.written("QUIET_HOURS") == "" else (time(20), time(8)),
)
CHANGE_CUTOFF_HOURS: int = env("CHANGE_CUTOFF_HOURS", cast=environment.hours, default=12)
REPLY_DIGIT_REST_HOURS: int = env("REPLY_DIGIT_REST_HOURS", cast=environment.hours, default=12)
DELIVERY_DAYS: frozenset[int] = env(
    "DELIVERY_DAYS", cast=environment.weekdays, default=frozenset(range(6))
)
OFFER_POST_OFFICE: bool = env.bool("OFFER_POST_OFFICE", default=True)

# The mobile network

SMS_GATEWAY: str = env(
    "SMS_GATEWAY", cast=environment.one_of("simulator", "vonage"), default="simulator"
)
#: By its path, as Django's e-mail backends are: the outbox does not import the web.
SIMULATOR_GATEWAY = "bookings.web.simulator.gateway.SimulatorGateway"
ALLOW_SIMULATOR: bool = env.bool("ALLOW_SIMULATOR", default=False)
SIMULATOR_BASE_URL: str = env.str("SIMULATOR_BASE_URL", default="http://127.0.0.1:8000")
VONAGE_API_KEY: str = env.str("VONAGE_API_KEY", default="")
VONAGE_API_SECRET: str = env.str("VONAGE_API_SECRET", default="")
VONAGE_NUMBERS: list[str] = env(
    "VONAGE_NUMBERS",
    cast=[environment.sender],
    default=["447700900000"] if SMS_GATEWAY == "simulator" else [],
)
VONAGE_SIGNATURE_SECRETS: list[str] = env.list("VONAGE_SIGNATURE_SECRETS", default=[])
VONAGE_SIGNATURE_METHOD: str = env(
    "VONAGE_SIGNATURE_METHOD",
    cast=environment.one_of("md5hash", "md5", "sha1", "sha256", "sha512"),
    default="sha256",
)
VONAGE_REST_HOST: str = env(
    "VONAGE_REST_HOST",
    cast=environment.matching(r"[A-Za-z0-9.-]+(:\d+)?", "a host alone, such as rest.nexmo.com"),
    default="rest.nexmo.com",
)
WEBHOOK_TOKEN: str = env(
    "WEBHOOK_TOKEN",
    cast=environment.matching("[A-Za-z0-9_-]+", "letters, digits, - and _: it is part of a URL"),
    default="",
)
SMS_RATE_PER_SECOND: float = env("SMS_RATE_PER_SECOND", cast=environment.rate, default=25.0)
SMS_RATE_PER_NUMBER: float | None = env("SMS_RATE_PER_NUMBER", cast=environment.rate, default=None)
# Where texts may go: two capitals each. Empty: anywhere.
SMS_COUNTRIES: list[str] = env(
    "SMS_COUNTRIES",
    cast=[environment.matching("[A-Z]{2}", "countries in two capitals, such as GB,IE")],
    default=[],
)
# What one customer's number gets at the most, whatever the reason. What is more waits.
SMS_PER_NUMBER_HOUR: int = env("SMS_PER_NUMBER_HOUR", cast=environment.count, default=30)
SMS_PER_NUMBER_DAY: int = env("SMS_PER_NUMBER_DAY", cast=environment.count, default=100)
# In the account's currency. None: no cap.
SMS_DAILY_SPEND_CAP: Decimal | None = env(
    "SMS_DAILY_SPEND_CAP", cast=environment.money, default=None
)
SMS_PRICE_PER_PART: Decimal = env(
    "SMS_PRICE_PER_PART", cast=environment.money, default=Decimal("0.05")
)
# What differs from it, by country in two capitals.
SMS_PRICES: dict[str, Decimal] = env("SMS_PRICES", cast=environment.prices, default={})
OUTBOX_ENGINE: str = env("OUTBOX_ENGINE", cast=environment.one_of("worker"), default="worker")

# What must not start

if SMS_GATEWAY == "simulator" and not (DEBUG or ALLOW_SIMULATOR):
    raise ImproperlyConfigured(
        "SMS_GATEWAY=simulator reaches no real phone. Without DEBUG, write SMS_GATEWAY=vonage,"
        " or ALLOW_SIMULATOR=True if you mean it."
    )
if SMS_GATEWAY == "vonage" and not (VONAGE_API_KEY and VONAGE_API_SECRET and VONAGE_NUMBERS):
    raise ImproperlyConfigured(
        "SMS_GATEWAY=vonage needs VONAGE_API_KEY, VONAGE_API_SECRET and VONAGE_NUMBERS."
    )
if not (DEBUG or VONAGE_SIGNATURE_SECRETS or WEBHOOK_TOKEN):
    raise ImproperlyConfigured(
        "Nothing tells a real webhook from a forged one. Write the account's signature secret"
        " into VONAGE_SIGNATURE_SECRETS, or a long random word into WEBHOOK_TOKEN, or both."
    )

# Django

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "bookings.apps.BookingsConfig",
]
MIDDLEWARE = [
    "bookings.web.middleware.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "bookings.web.middleware.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "bookings.web.middleware.SessionLimitsMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "bookings.web.middleware.SecondFactorMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "delivery_sms.urls"
WSGI_APPLICATION = "delivery_sms.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "bookings.web.demo.card.context",
            ]
        },
    }
]

LANGUAGE_CODE = "en-gb"
USE_TZ = True

# Database. Threads need the test database in a file, and two test runs one each.

DATABASE: dict[str, Any] = env(
    "DATABASE_URL",
    cast=environment.database,
    default=environment.database("sqlite:///db.sqlite3"),
)
match DATABASE.get("ENGINE"):
    case "django.db.backends.sqlite3":
        DATABASE |= {
            "ENGINE": "delivery_sms.sqlite3",  # threads write in turn
            "NAME": environment.sqlite_name(DATABASE["NAME"], BASE_DIR),
            "CONN_MAX_AGE": 0,  # a restored file is seen at once
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                # Seconds to connect, and then 4 for a lock; a webhook's are web/webhooks/deadline.py's.
                "timeout": 1,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                " PRAGMA foreign_keys=ON; PRAGMA busy_timeout=4000;",
            },
        }
    case "django.db.backends.postgresql":
        # A connection for each thread. A pool would ask a server that was away less and less often.
        # A network that has fallen silent is noticed in 2 to 4 s; else a thread would wait for two
        # hours if it waits for an answer, and a quarter of one if it has just asked (milliseconds).
        silence = {
            "tcp_user_timeout": 2000,
            "keepalives_idle": 2,
            "keepalives_interval": 1,
            "keepalives_count": 2,
        }
        DATABASE |= {
            "CONN_MAX_AGE": 600,
            "CONN_HEALTH_CHECKS": True,
            "OPTIONS": {"connect_timeout": 2} | silence | DATABASE.get("OPTIONS", {}),
        }
DATABASES = {"default": DATABASE}

# Static files: hashed and compressed once `collectstatic` has run, straight from the apps before.

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_COLLECTED = not DEBUG and (STATIC_ROOT / "staticfiles.json").exists()
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = not STATICFILES_COLLECTED
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if STATICFILES_COLLECTED
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

# Who may come in

LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
AUTHENTICATION_BACKENDS = [
    "bookings.web.accounts.lockout.LockoutBackend",
    "django.contrib.auth.backends.ModelBackend",
    "bookings.web.demo.accounts.DemoBackend",  # lets nobody in outside the demo
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
# By address alone one typo too many would lock out the whole office.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_CLIENT_IP_CALLABLE = "bookings.web.accounts.lockout.client_address"
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_CALLABLE = "bookings.web.accounts.views.locked_out"
AXES_VERBOSE = False
# Its tables are not for staff: `manage.py axes_reset_username` unlocks.
AXES_ENABLE_ADMIN = False

# Required: of everybody who may stop or start the sending. Optional: of who has set it up.
SECOND_FACTOR: str = env(
    "SECOND_FACTOR", cast=environment.one_of("optional", "required"), default="optional"
)
OTP_TOTP_ISSUER = COMPANY_NAME

# What browsers are told

SESSION_COOKIE_AGE = 12 * 60 * 60
SESSION_IDLE = timedelta(minutes=30)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_PROXY
SECURE_SSL_REDIRECT = BEHIND_PROXY
SECURE_REDIRECT_EXEMPT = ["^healthz$", "^readyz$"]  # asked from inside, without TLS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60 if BEHIND_PROXY else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = BEHIND_PROXY
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SECURE_CSP: dict[str, list[str]] = {
    "default-src": ["'self'"],
    "img-src": ["'self'", "data:"],
    "object-src": ["'none'"],
    "base-uri": ["'none'"],
    "form-action": ["'self'"],
    "frame-ancestors": ["'none'"],
}
# Unfold's Alpine evaluates expressions, and its templates carry styles.
SECURE_CSP_PAGES: dict[str, list[str]] = SECURE_CSP | {
    "script-src": ["'self'", "'unsafe-eval'"],
    "style-src": ["'self'", "'unsafe-inline'"],
}

UNFOLD = {
    "SITE_TITLE": COMPANY_NAME,
    "SITE_HEADER": COMPANY_NAME,
    "SITE_SYMBOL": "local_shipping",
    "SHOW_VIEW_ON_SITE": False,
    "SITE_URL": None,
    "DASHBOARD_CALLBACK": "bookings.admin.dashboard.page.dashboard",
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("bookings/icon.svg"),
        }
    ],
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": "bookings.admin.shared.navigation.navigation",
    },
}

# At DEBUG these three print secrets, numbers and texts.

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "delivery_sms.logs.MaskingFormatter",
            "format": "{asctime} {levelname} {name}{request}: {message}",
            "style": "{",
        },
        "json": {"()": "delivery_sms.logs.JSONFormatter"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "bookings": {"level": "INFO"},
        "delivery_sms": {"level": "INFO"},
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        # A forged Host header is refused with 400; it needs no traceback.
        "django.security.DisallowedHost": {"handlers": [], "level": "CRITICAL"},
        "django.server": {"handlers": [], "level": "WARNING", "propagate": True},
    }
    | {name: {"level": "WARNING"} for name in ("vonage", "urllib3", "django.db.backends")},
}
