-- With what each search was made: seed, scope and versions (JSON), newest first.
-- Parameters: search (id; NULL: all).
SELECT id AS search_id, name, base_model, seed, scope, versions
FROM searches
WHERE CAST(:search AS TEXT) IS NULL OR id = CAST(:search AS TEXT)
ORDER BY created_at DESC, id
