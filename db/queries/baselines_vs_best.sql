-- Every baseline beside the best candidate of its search: fitness, and how far it is behind.
-- Parameters: search (id; NULL: all), split (NULL: search).
-- The best candidate is the one of the highest fitness, feasible ones first, that was searched for.
WITH scored AS (
    SELECT
        e.search_id, e.split, e.fitness, e.fitness_stderr, e.violation, c.number, c.origin, c.label
    FROM evaluations e
    JOIN candidates c ON c.id = e.candidate_id
    WHERE e.fitness IS NOT NULL
      AND e.split = COALESCE(CAST(:split AS TEXT), 'search')
      AND (CAST(:search AS TEXT) IS NULL OR e.search_id = CAST(:search AS TEXT))
),
ranked AS (
    SELECT
        scored.*,
        ROW_NUMBER() OVER (
            PARTITION BY search_id ORDER BY violation, fitness DESC, number
        ) AS place
    FROM scored
    WHERE origin = 'search'
)
SELECT
    baseline.search_id,
    baseline.label AS baseline,
    baseline.fitness AS baseline_fitness,
    baseline.fitness_stderr AS baseline_stderr,
    ranked.number AS best_number,
    ranked.fitness AS best_fitness,
    ranked.fitness_stderr AS best_stderr,
    ranked.fitness - baseline.fitness AS gain
FROM scored baseline
LEFT JOIN ranked ON ranked.search_id = baseline.search_id AND ranked.place = 1
WHERE baseline.origin = 'baseline'
ORDER BY baseline.search_id, baseline.fitness DESC, baseline.number
