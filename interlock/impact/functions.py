"""Functions that the SQL parser knows by name only: what they are, it cannot say."""

from __future__ import annotations

# Another value each time they are asked.
VOLATILE = frozenset(
    [
        "nextval", "currval", "setval", "setseed", "uuidv4", "uuidv7", "uuid_string", "newid",
        "clock_timestamp", "statement_timestamp", "timeofday", "rand", "randn", "random",
        "uniform", "monotonically_increasing_id", "shuffle", "txid_current", "zipf", "normal",
        "gen_random_bytes", "current_query_id", "current_transaction_id", "sleep_ms", "stats",
        "write_log", "current_query", "current_connection_id", "input_file_name", "error",
        "spark_partition_id", "array_shuffle", "session_user_id", "vector_type",
    ]
)  # fmt: skip
# Functions of DuckDB that the parser has no node for, and that give one value for one row.
SCALARS = frozenset(
    [
        "now", "epoch", "epoch_us", "epoch_ns", "list_slice", "list_position", "list_distinct",
        "list_unique", "list_value", "list_aggregate", "list_intersect", "list_zip",
        "list_grade_up", "array_slice", "struct_extract", "map_extract", "map_values",
        "map_from_entries", "json_array_length", "json_valid", "json_type", "json_keys",
        "regexp_matches", "regexp_escape", "bar", "damerau_levenshtein", "jaro_similarity",
        "jaccard", "hamming", "mismatches", "signbit", "even", "nextafter", "factorial", "gamma",
        "lgamma", "isodow", "century", "decade", "millennium", "era", "timezone", "timezone_hour",
        "to_years", "to_months", "to_weeks", "to_days", "to_hours", "to_minutes", "to_seconds",
        "to_milliseconds", "to_microseconds", "to_base", "hash", "md5_number", "sha1", "sha256",
        "bit_position", "set_bit", "get_bit", "printf", "parse_path", "parse_filename",
        "url_encode", "url_decode", "ord", "nfc_normalize",
    ]
)  # fmt: skip
