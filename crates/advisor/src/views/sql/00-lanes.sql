CREATE FUNCTION pglanes.lane_of(application_name text, user_name text, database_name text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $function$
SELECT CASE
{told}    WHEN $1 LIKE 'pglanes%' THEN 'pglanes'
{rules}    ELSE 'default'
END
$function$;
COMMENT ON FUNCTION pglanes.lane_of(text, text, text) IS
    'The lane of a session by its names, as lanes.yaml had it when the views were installed; install them anew after a change. Where application_name tells the lane (lanes.yaml: upstream.application_name) it is that one. Else the rules decide; what a rule says of statements, tags or addresses is not known here: such a transaction counts to its session''s lane.';

CREATE FUNCTION pglanes.statement_class(query text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $function$
SELECT CASE
    WHEN $1 IS NULL THEN NULL
    WHEN $1 ~ '<=>|<->|<#>|<\+>' THEN 'vector search'
    ELSE coalesce(lower(substring($1 FROM '^(?:\s|--[^\n]*\n|/\*.*?\*/)*([[:alpha:]]+)')), 'other')
END
$function$;
COMMENT ON FUNCTION pglanes.statement_class(text) IS
    'The kind of a statement: its first word, or a vector search where it has a distance operator of pgvector.';
