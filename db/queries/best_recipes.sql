-- The best candidates with their recipes, best first.
-- Parameters: search (id; NULL: all), base (base model; NULL: any), split (NULL: search),
--   limit (NULL: 10).
-- Feasible candidates come before those that miss a constraint; each recipe of a search once.
-- (`+ 0`: along the index of recipes, where the one of numbers is long.)
SELECT
    e.search_id,
    c.number,
    c.origin,
    c.label,
    e.fitness,
    e.fitness_stderr,
    e.violation,
    c.recipe_id,
    c.recipe
FROM evaluations e
JOIN candidates c ON c.id = e.candidate_id
JOIN searches s ON s.id = e.search_id
WHERE e.fitness IS NOT NULL
  AND e.split = COALESCE(CAST(:split AS TEXT), 'search')
  AND (CAST(:search AS TEXT) IS NULL OR e.search_id = CAST(:search AS TEXT))
  AND (CAST(:base AS TEXT) IS NULL OR s.base_model = CAST(:base AS TEXT))
  AND NOT EXISTS (
      SELECT 1
      FROM candidates earlier
      WHERE earlier.search_id = c.search_id
        AND earlier.recipe_id = c.recipe_id
        AND earlier.number + 0 < c.number
  )
ORDER BY e.violation, e.fitness DESC, e.created_at, e.id
LIMIT COALESCE(CAST(:limit AS INTEGER), 10)
