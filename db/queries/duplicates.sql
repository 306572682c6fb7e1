-- Candidates whose recipe was scored before, and the candidate whose result they took over.
-- Parameters: search (id; NULL: all).
SELECT
    e.search_id,
    c.number,
    e.split,
    c.recipe_id,
    first_evaluation.search_id AS first_search_id,
    first_candidate.number AS first_number,
    first_evaluation.status
FROM evaluations e
JOIN candidates c ON c.id = e.candidate_id
JOIN evaluations first_evaluation ON first_evaluation.id = e.copied_from
JOIN candidates first_candidate ON first_candidate.id = first_evaluation.candidate_id
WHERE CAST(:search AS TEXT) IS NULL OR e.search_id = CAST(:search AS TEXT)
ORDER BY e.search_id, c.number, e.id
