-- Statistics lag behind a log that grows by the second, so no plan may take it for small: each looks at an index.
SELECT set_config('TimeZone', 'UTC', false), set_config('enable_seqscan', 'off', false),
    set_config('enable_hashjoin', 'off', false), set_config('enable_mergejoin', 'off', false)
