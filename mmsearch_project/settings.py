"""Settings, from the environment. docs/configuration.md lists every variable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dj_database_url

from mmsearch_project import environment as env
from mmsearch_project import exposure
from mmsearch_project.logs import logging_config

BASE_DIR = Path(__file__).resolve().parent.parent

# ── where things are kept ───────────────────────────────────────────────────────────────────────
MMSEARCH_DATA_DIR = env.writable_folder("MMSEARCH_DATA_DIR", BASE_DIR / "data")
MEDIA_ROOT = MMSEARCH_DATA_DIR / "media"
MMSEARCH_BUCKET = env.bucket("MMSEARCH_MEDIA_URL")
if not MMSEARCH_BUCKET:
    MEDIA_ROOT = env.writable_folder("MMSEARCH_MEDIA_URL", MEDIA_ROOT)
MEDIA_URL = "/media/"
MMSEARCH_INDEX_DIR = MMSEARCH_DATA_DIR / "index"
MMSEARCH_MODEL_DIR = MMSEARCH_DATA_DIR / "models"

# ── who may come in ─────────────────────────────────────────────────────────────────────────────
DEBUG = env.flag("MMSEARCH_DEBUG", default=False)
SECRET_KEY = env.secret_key("MMSEARCH_SECRET_KEY", MMSEARCH_DATA_DIR / "secret_key")
HOST = env.text("HOST") or "127.0.0.1"
PORT = env.whole_number("PORT", 8000, low=1, high=65_535)
WEB_CONCURRENCY = env.whole_number("WEB_CONCURRENCY", 1, low=1, high=256)
MMSEARCH_HTTPS = env.flag("MMSEARCH_HTTPS", default=False)
CSRF_TRUSTED_ORIGINS = env.words("MMSEARCH_TRUSTED_ORIGINS", ())
ALLOWED_HOSTS = [
    *env.words("MMSEARCH_ALLOWED_HOSTS", ()),
    *exposure.own_names(HOST),
    *exposure.LOOPBACK_NAMES,
]
MMSEARCH_EXPOSED_BY = exposure.exposed_by(
    host=HOST, names=ALLOWED_HOSTS, https=MMSEARCH_HTTPS, origins=CSRF_TRUSTED_ORIGINS
)
MMSEARCH_ALLOW_ANONYMOUS_WRITES = env.flag("MMSEARCH_ALLOW_ANONYMOUS_WRITES", default=False)
MMSEARCH_API_AUTH = exposure.api_auth(
    MMSEARCH_EXPOSED_BY, anonymous_writes=MMSEARCH_ALLOW_ANONYMOUS_WRITES
)
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = MMSEARCH_HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if MMSEARCH_HTTPS else 0
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$"]  # probes come past the proxy
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if MMSEARCH_HTTPS else None
X_FRAME_OPTIONS = "DENY"
SILENCED_SYSTEM_CHECKS = [
    # What other hosts of the domain speak is not ours to promise.
    *("security.W005", "security.W021"),
    # TLS ends at the proxy in front; MMSEARCH_HTTPS=1 turns all of these on.
    *(
        ()
        if MMSEARCH_HTTPS
        else ("security.W004", "security.W008", "security.W012", "security.W016")
    ),
]

# ── what is installed ───────────────────────────────────────────────────────────────────────────
INSTALLED_APPS = [
    "mmsearch_project.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_q",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "catalog.apps.CatalogConfig",
    "embeddings.apps.EmbeddingsConfig",
    "search.apps.SearchConfig",
    "rest_framework.authtoken",  # after search, whose command makes the keys
]
MIDDLEWARE = [
    "mmsearch_project.middleware.RequestLog",
    "search.operations.metrics.RequestMetrics",
    "search.answer.abandonment.NoticeAbandonment",
    "django.middleware.security.SecurityMiddleware",
    "mmsearch_project.middleware.ContentSecurityPolicy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "mmsearch_project.urls"
WSGI_APPLICATION = "mmsearch_project.wsgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "search.pages.context.installation",
            ],
        },
    },
]

# ── database and jobs ───────────────────────────────────────────────────────────────────────────
DATABASES: dict[str, Any] = {
    "default": dj_database_url.parse(
        env.service_url(
            "MMSEARCH_DATABASE_URL", {"sqlite": "", "postgresql": "psycopg", "postgres": "psycopg"}
        )
        or f"sqlite:///{MMSEARCH_DATA_DIR / 'mmsearch.sqlite3'}",
        conn_max_age=None,
        conn_health_checks=True,
        disable_server_side_cursors=env.flag("MMSEARCH_DATABASE_POOLED", default=False),
    )
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    env.require_absolute(
        "MMSEARCH_DATABASE_URL", DATABASES["default"]["NAME"], example="sqlite:////srv/db"
    )
    env.keep_private(Path(DATABASES["default"]["NAME"]))
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 30,  # seconds to wait for another writer
        "transaction_mode": "IMMEDIATE",
        # A connection each thread; the usual 128 take 2 MB of each, most asked only once.
        "cached_statements": 32,
        # The map spares a system call a page: 20 rows by key take 0.06 in place of 0.10 ms.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA mmap_size=268435456;",
    }
else:  # a host that is gone says nothing: seconds, and milliseconds, until it is given up
    DATABASES["default"].setdefault("OPTIONS", {}).setdefault("connect_timeout", 5)
    DATABASES["default"]["OPTIONS"].setdefault("tcp_user_timeout", 10_000)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

MMSEARCH_BROKER_URL = env.service_url("MMSEARCH_BROKER_URL", {"redis": "redis", "rediss": "redis"})
Q_CLUSTER: dict[str, Any] = {
    "name": "mmsearch",
    "workers": 2,  # one embeds while the other sweeps or compacts
    "queue_limit": 2,
    "timeout": 3600,  # seconds; a compaction of a million vectors fits, a hang ends
    "retry": 3900,
    "max_attempts": 3,
    "ack_failures": True,
    "catch_up": False,
    "save_limit": 250,
    "poll": 0.2,
    "bulk": 1,
    "label": "Background jobs",
    **(
        {"broker_class": "embeddings.brokers.redis_broker"}
        if MMSEARCH_BROKER_URL
        else {"orm": "default"}
    ),
}

# ── encoder and index ───────────────────────────────────────────────────────────────────────────
# The model last started with is remembered, so that `manage.py` in another terminal agrees.
MMSEARCH_MODEL_CHOICE = MMSEARCH_DATA_DIR / "model"
MMSEARCH_MODEL = env.text("MMSEARCH_MODEL") or env.first_line(MMSEARCH_MODEL_CHOICE) or "starter"
MMSEARCH_DEVICE = env.choice("MMSEARCH_DEVICE", ("auto", "cpu", "cuda"), "auto")
MMSEARCH_SWITCH = env.choice("MMSEARCH_SWITCH", ("auto", "manual"), "auto")
MMSEARCH_ENCODER: dict[str, Any] = {  # of any model; which one, a space says
    "BACKEND": "embeddings.encoders.serving.prepared_encoder.PreparedEncoder",
    "OPTIONS": {"device": MMSEARCH_DEVICE, "directory": MMSEARCH_MODEL_DIR},
}
MMSEARCH_TARGET_RECALL = env.number("MMSEARCH_TARGET_RECALL", 0.99, low=0.5, high=1)
MMSEARCH_INDEX_MEMORY_MB = env.number("MMSEARCH_INDEX_MEMORY_MB", None, low=1, high=1e7)
MMSEARCH_INDEX_EXACT_ROWS = env.whole_number("MMSEARCH_INDEX_EXACT_ROWS", 16_384, low=1, high=10**7)
MMSEARCH_VECTOR_STORE = env.choice_or_url(
    "MMSEARCH_VECTOR_STORE", ("faiss", "pgvector"), {"milvus": "pymilvus"}, "faiss"
)
MMSEARCH_STORES: dict[str, dict[str, Any]] = {
    "faiss": {
        "BACKEND": "search.index.stores.faiss.store.FaissStore",
        "OPTIONS": {
            "target_recall": MMSEARCH_TARGET_RECALL,
            "memory_mb": MMSEARCH_INDEX_MEMORY_MB,
            "exact_rows": MMSEARCH_INDEX_EXACT_ROWS,
        },
    },
    "pgvector": {"BACKEND": "search.index.stores.remote.pgvector.PgvectorEngine"},
    "milvus": {"BACKEND": "search.index.stores.remote.milvus.MilvusEngine"},
}
MMSEARCH_DEMO = env.flag("MMSEARCH_DEMO", default=True)

# ── what is kept of searches, to compare models by ──────────────────────────────────────────────
MMSEARCH_QUERY_LOG = env.whole_number("MMSEARCH_QUERY_LOG", 1_000, low=0, high=100_000)
MMSEARCH_SHADOW = env.number("MMSEARCH_SHADOW", 0.0, low=0, high=1)

# ── limits ──────────────────────────────────────────────────────────────────────────────────────
MMSEARCH_MAX_UPLOAD_BYTES = env.whole_number("MMSEARCH_MAX_UPLOAD_MB", 25, low=1, high=1024) * 2**20
MMSEARCH_MAX_BULK_BYTES = 256 * 2**20
MMSEARCH_MAX_IMAGE_PIXELS = 1_000_000 * env.whole_number(
    "MMSEARCH_MAX_IMAGE_MEGAPIXELS", 100, low=1, high=1000
)
MMSEARCH_MAX_CAPTION_LENGTH = 20_000
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 2**20
FILE_UPLOAD_MAX_MEMORY_SIZE = 5 * 2**20

# ── API ─────────────────────────────────────────────────────────────────────────────────────────
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "search.api.authentication.Token",
        "search.api.authentication.Session",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["search.api.permissions.OpenOrAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "search.api.negotiation.FirstRenderer",
    "URL_FORMAT_OVERRIDE": None,
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_PAGINATION_CLASS": "search.api.pagination.Pages",
    "PAGE_SIZE": 50,
    "EXCEPTION_HANDLER": "search.api.errors.exception_handler",
    "UNICODE_JSON": True,
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "mmsearch",
    "DESCRIPTION": "Search pictures and captions by meaning.",
    "VERSION": "1.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "ModalityEnum": "embeddings.models.MODALITY_CHOICES",
        "SearchedModalityEnum": "search.api.search_serializers.SEARCHED_MODALITIES",
        "EvidenceEnum": "search.api.search_serializers.EVIDENCE",
    },
}

# ── static files, language, logs ────────────────────────────────────────────────────────────────
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "templates" / "static"]
STORAGES = {
    "default": (
        {"BACKEND": "catalog.bucket.Bucket", "OPTIONS": MMSEARCH_BUCKET}
        if MMSEARCH_BUCKET
        else {"BACKEND": "catalog.storage.MediaFolder"}
    ),
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True  # straight from the checkout: no collectstatic
LANGUAGE_CODE = "en-us"
USE_TZ = True
TIME_ZONE = "UTC"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "search"
MMSEARCH_LOG_FORMAT = env.choice("MMSEARCH_LOG_FORMAT", ("text", "json"), "text")
LOGGING = logging_config(MMSEARCH_LOG_FORMAT)

env.refuse_unknown()  # last: every variable that is a setting was read above
