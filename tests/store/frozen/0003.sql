BEGIN TRANSACTION;
CREATE TABLE asks (
	candidate_id INTEGER NOT NULL, 
	tells INTEGER NOT NULL, 
	CONSTRAINT pk_asks PRIMARY KEY (candidate_id), 
	CONSTRAINT ck_asks_tells CHECK (tells >= 0), 
	CONSTRAINT fk_asks_candidates FOREIGN KEY(candidate_id) REFERENCES candidates (id)
);
INSERT INTO "asks" VALUES(1,0);
INSERT INTO "asks" VALUES(2,0);
INSERT INTO "asks" VALUES(3,0);
INSERT INTO "asks" VALUES(4,2);
CREATE TABLE attempts (
	evaluation_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	worker TEXT NOT NULL, 
	status TEXT NOT NULL, 
	started_at DOUBLE NOT NULL, 
	finished_at DOUBLE, 
	error_type TEXT, 
	error TEXT, 
	merge_seconds DOUBLE, 
	load_seconds DOUBLE, 
	forward_seconds DOUBLE, 
	overhead_seconds DOUBLE, 
	tokens BIGINT, 
	late_scores TEXT, 
	CONSTRAINT pk_attempts PRIMARY KEY (evaluation_id, number), 
	CONSTRAINT ck_attempts_status CHECK (status IN ('running', 'scored', 'failed', 'lost', 'late')), 
	CONSTRAINT fk_attempts_evaluations FOREIGN KEY(evaluation_id) REFERENCES evaluations (id)
);
INSERT INTO "attempts" VALUES(1,1,'worker','scored',1.79536457283900976176e+09,1.79536457288901948924e+09,NULL,NULL,0.1,0.2,3.33333333333333314829e-01,0.05,1234,NULL);
INSERT INTO "attempts" VALUES(2,1,'worker','late',1.79536457290998101234e+09,1.79536457292100477215e+09,NULL,NULL,0.1,0.2,3.33333333333333314829e-01,0.05,1234,'[{"task":"alpha","metric":"acc","value":0.25,"stderr":0.01,"n":20,"headline":true},{"task":"alpha","metric":"margin","value":0.08333333333333333,"stderr":null,"n":20,"headline":false},{"task":"beta","metric":"ppl","value":2.5,"stderr":0.1,"n":20,"headline":true}]');
INSERT INTO "attempts" VALUES(2,2,'worker','scored',1.79536457291299843784e+09,1.79536457293001699446e+09,NULL,NULL,0.1,0.2,3.33333333333333314829e-01,0.05,1234,NULL);
INSERT INTO "attempts" VALUES(3,1,'worker','failed',1.79536457293601179122e+09,1.79536457295101881028e+09,'EvaluationError','engine died',NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE candidates (
	id INTEGER NOT NULL, 
	search_id TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	origin TEXT NOT NULL, 
	generation INTEGER, 
	label TEXT, 
	recipe_id TEXT NOT NULL, 
	recipe TEXT NOT NULL, 
	genome TEXT, 
	told INTEGER, 
	loss DOUBLE, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_candidates PRIMARY KEY (id), 
	CONSTRAINT uq_candidates_search_id_number UNIQUE (search_id, number), 
	CONSTRAINT uq_candidates_search_id_told UNIQUE (search_id, told), 
	CONSTRAINT uq_candidates_id_search_id_recipe_id UNIQUE (id, search_id, recipe_id), 
	CONSTRAINT ck_candidates_origin CHECK (origin IN ('baseline', 'search')), 
	CONSTRAINT ck_candidates_number CHECK (number >= 0), 
	CONSTRAINT ck_candidates_told CHECK ((told IS NULL) = (loss IS NULL)), 
	CONSTRAINT fk_candidates_searches FOREIGN KEY(search_id) REFERENCES searches (id)
);
INSERT INTO "candidates" VALUES(1,'frozen',0,'search',0,'0','bebc746ffa0b9152','{"merge_method":"linear","models":[{"model":"org/a","parameters":{"weight":[{"value":0.0}]}},{"model":"org/b","parameters":{"weight":[{"value":1.0}]}}]}','[0.1,0.0]',1,-0.5,1.79536457274498486517e+09);
INSERT INTO "candidates" VALUES(2,'frozen',1,'search',0,'1','faa32438f91a264c','{"merge_method":"linear","models":[{"model":"org/a","parameters":{"weight":[{"value":0.001}]}},{"model":"org/b","parameters":{"weight":[{"value":0.999}]}}]}','[0.1,0.14285714285714285]',0,-0.75,1.79536457274599075316e+09);
INSERT INTO "candidates" VALUES(3,'frozen',2,'search',0,'2','7b9ed1647eb7d866','{"merge_method":"linear","models":[{"model":"org/a","parameters":{"weight":[{"value":0.002}]}},{"model":"org/b","parameters":{"weight":[{"value":0.998}]}}]}','[0.1,0.2857142857142857]',NULL,NULL,1.79536457279101157192e+09);
INSERT INTO "candidates" VALUES(4,'frozen',3,'search',1,NULL,'faa32438f91a264c','{"merge_method":"linear","models":[{"model":"org/a","parameters":{"weight":[{"value":0.001}]}},{"model":"org/b","parameters":{"weight":[{"value":0.999}]}}]}','[0.1,0.42857142857142855]',NULL,NULL,1.79536457281201338766e+09);
CREATE TABLE evaluations (
	id INTEGER NOT NULL, 
	candidate_id INTEGER NOT NULL, 
	search_id TEXT NOT NULL, 
	recipe_id TEXT NOT NULL, 
	split TEXT NOT NULL, 
	status TEXT, 
	copied_from INTEGER, 
	attempts INTEGER NOT NULL, 
	failures INTEGER NOT NULL, 
	fitness DOUBLE, 
	fitness_stderr DOUBLE, 
	violation DOUBLE, 
	error_type TEXT, 
	error TEXT, 
	retryable BOOLEAN NOT NULL, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_evaluations PRIMARY KEY (id), 
	CONSTRAINT uq_evaluations_candidate_id_split UNIQUE (candidate_id, split), 
	CONSTRAINT fk_evaluations_candidates FOREIGN KEY(candidate_id, search_id, recipe_id) REFERENCES candidates (id, search_id, recipe_id), 
	CONSTRAINT fk_evaluations_evaluations FOREIGN KEY(copied_from) REFERENCES evaluations (id), 
	CONSTRAINT ck_evaluations_split CHECK (split IN ('search', 'validation', 'test')), 
	CONSTRAINT ck_evaluations_status CHECK (status IN ('pending', 'running', 'scored', 'failed')), 
	CONSTRAINT ck_evaluations_copied CHECK ((copied_from IS NULL) = (status IS NOT NULL)), 
	CONSTRAINT ck_evaluations_copies_are_not_attempted CHECK (copied_from IS NULL OR attempts = 0)
);
INSERT INTO "evaluations" VALUES(1,1,'frozen','bebc746ffa0b9152','search','scored',NULL,1,0,0.5,0.01,0.0,NULL,NULL,1,1.79536457275999188423e+09);
INSERT INTO "evaluations" VALUES(2,2,'frozen','faa32438f91a264c','search','scored',NULL,2,0,0.75,NULL,0.5,NULL,NULL,1,1.79536457277298712735e+09);
INSERT INTO "evaluations" VALUES(3,3,'frozen','7b9ed1647eb7d866','search','failed',NULL,1,1,NULL,NULL,NULL,'EvaluationError','engine died',1,1.79536457279901790623e+09);
INSERT INTO "evaluations" VALUES(4,4,'frozen','faa32438f91a264c','search',NULL,2,0,0,NULL,NULL,NULL,NULL,NULL,1,1.79536457281398487088e+09);
INSERT INTO "evaluations" VALUES(5,1,'frozen','bebc746ffa0b9152','test','pending',NULL,0,0,NULL,NULL,NULL,NULL,NULL,1,1.79536457297600364688e+09);
CREATE TABLE events (
	id INTEGER NOT NULL, 
	search_id TEXT NOT NULL, 
	at DOUBLE NOT NULL, 
	level TEXT NOT NULL, 
	message TEXT NOT NULL, 
	CONSTRAINT pk_events PRIMARY KEY (id), 
	CONSTRAINT fk_events_searches FOREIGN KEY(search_id) REFERENCES searches (id)
);
INSERT INTO "events" VALUES(1,'frozen',1.79536457306101608277e+09,'info','began');
CREATE TABLE evomerge_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT evomerge_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "evomerge_version" VALUES('0003');
CREATE TABLE exports (
	id INTEGER NOT NULL, 
	candidate_id INTEGER NOT NULL, 
	owner TEXT NOT NULL, 
	folder TEXT NOT NULL, 
	status TEXT NOT NULL, 
	error TEXT, 
	created_at DOUBLE NOT NULL, 
	updated_at DOUBLE NOT NULL, 
	claimed_by TEXT, 
	claimed_until DOUBLE, 
	CONSTRAINT pk_exports PRIMARY KEY (id), 
	CONSTRAINT ck_exports_status CHECK (status IN ('pending', 'running', 'done', 'failed')), 
	CONSTRAINT uq_exports_folder UNIQUE (folder), 
	CONSTRAINT ck_exports_claim CHECK ((claimed_by IS NULL) = (claimed_until IS NULL)), 
	CONSTRAINT fk_exports_candidates FOREIGN KEY(candidate_id) REFERENCES candidates (id), 
	CONSTRAINT fk_exports_owners FOREIGN KEY(owner) REFERENCES owners (name)
);
INSERT INTO "exports" VALUES(1,1,'ada','/exports/frozen','pending',NULL,1.7953645730699882507e+09,1.7953645730699882507e+09,NULL,NULL);
CREATE TABLE limits (
	search_id TEXT NOT NULL, 
	limits TEXT NOT NULL, 
	CONSTRAINT pk_limits PRIMARY KEY (search_id), 
	CONSTRAINT fk_limits_searches FOREIGN KEY(search_id) REFERENCES searches (id)
);
INSERT INTO "limits" VALUES('frozen','{"budget":{"candidates":9,"tokens":null,"hours":null,"gpu_hours":null,"patience":null},"workers":2}');
CREATE TABLE outcomes (
	evaluation_id INTEGER NOT NULL, 
	task TEXT NOT NULL, 
	position INTEGER NOT NULL, 
	documents INTEGER NOT NULL, 
	data BLOB NOT NULL, 
	CONSTRAINT pk_outcomes PRIMARY KEY (evaluation_id, task), 
	CONSTRAINT fk_outcomes_evaluations FOREIGN KEY(evaluation_id) REFERENCES evaluations (id)
);
INSERT INTO "outcomes" VALUES(1,'alpha',0,20,X'454D4F01789C93656060A856CA53B2523032D05150CA4D2D29CA4C2E0672A39512939395626B591920807190D26D735FABD5843EB36FD563CA743CF47AFF027776831FF997F69F7DC190AAC2F7C4FEF0FFDBE73CC4FFDBDB9FE6F95EA0F56D7FB383435A75F2A7FD53DE4F9F3023FABAFDFBFF4FA5EC5E7EDEAF91B8B649F2CFE7FDCEEB25AE6848BCB67F34E5617D79C441FB9B8F3FEE2F4D7EB9FF7199F3B66E83B3F6BFD46766F4085CD9AF1E1A7DFBF3A167FB3F29CE92F43ACA74C07E9F9BEBB237CFECFF9E9CBAAD7FFDF3FD2FF54F2E6DDB707A3F00920462CE');
INSERT INTO "outcomes" VALUES(1,'beta',1,20,X'454D4F01789C93656060A856CA53B2523032D05150CA4D2D29CA4C2E0672A3950A0A7294626B591920807190D227EF464CF1B1FFBADFA045AD7ADAB107F6A57FAC658F77BDB39FBDF6BC5B71C54FFBA5DD9394A7FFB863CF66117D7B46D247FB4D5B6C1AB6FE3EB3BF65D1A29053F7BEEC8F16BDDFA22DF9C35E2B795FE804C3C9F60216D10919ED2FEC5B1F39F0DF0BDAB35FAB47CDCCECED07FB8DD1D5BA9B2EFEB5179DD571A053FE81FD26CBB80F13223EDB97C63C5BB17FDFD1FD9372A6480A307DB7BFE650BCF6A7ED21FB431718673787BDB10700F0C75C03');
INSERT INTO "outcomes" VALUES(2,'alpha',0,20,X'454D4F01789C93656060A856CA53B2523032D05150CA4D2D29CA4C2E0672A39512939395626B591920807190D272F7BD15357CBFEC67E7A9CB728C3EB3DF6F4FD081F55FBFDBFF301769FA75F4E77EFD4B0E220BA61DB42F609DBCAF60EEE7FD0682F12FBFC8DFD9AFE7C77432D7F4F9FE777D0525B6C247F66BF45FAE12BF7B77BF64E5416DA3983FF64EA66DE136272ED9DF3ADBCD7193E79DBDC051832781473FD957976D38B2BC8BE5C0CFD737ED33677CDAAFFCE1E9DB6942BBF69BDDFD58A02AC171E0DBAB1DAEBE930EDAB33E6B9275FDFA793F000E2B5D07');
INSERT INTO "outcomes" VALUES(2,'beta',1,20,X'454D4F01789C93656060A856CA53B2523032D05150CA4D2D29CA4C2E0672A3950A0A7294626B591920807190D2F6DAB7132EEEDA6F3FE7F49B135C6ADBEC2B2F314F997AFCEFFEF58BF4AE774A6CD93FEBA5826373FE637B8963B9E796AD3CB4FF09BBFBA365A6F7ED2F7D5FBDE6F1BECFF63D694F8F5F71FE6CFF2AF82887AFE287FDA61C2E06C73D26ED679330D9BA91E5BDFDDC7A21C98A3797F6E75FDA72EFCCE673FB0B2C6E2FD57CFAC67E8E31D79B3D7ABFED5DB62A5DE7F1386A6F54BBE6EE91C95FF667EA24CFF81DF5C6FE53EB5DE637759FF70300102660F5');
CREATE TABLE owners (
	name TEXT NOT NULL, 
	weight DOUBLE NOT NULL, 
	max_running INTEGER, 
	max_queued INTEGER, 
	max_candidates INTEGER, 
	max_workers INTEGER, 
	max_hours DOUBLE, 
	used DOUBLE NOT NULL, 
	used_at DOUBLE NOT NULL, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_owners PRIMARY KEY (name), 
	CONSTRAINT ck_owners_weight CHECK (weight > 0), 
	CONSTRAINT ck_owners_used CHECK (used >= 0)
);
INSERT INTO "owners" VALUES('ada',2.0,3,NULL,NULL,NULL,NULL,0.0,1.79536457301800704e+09,1.79536457301800704e+09);
CREATE TABLE queue (
	search_id TEXT NOT NULL, 
	owner TEXT NOT NULL, 
	priority INTEGER NOT NULL, 
	wanted BOOLEAN NOT NULL, 
	submitted_at DOUBLE NOT NULL, 
	started_at DOUBLE, 
	claimed_by TEXT, 
	claimed_until DOUBLE, 
	failures INTEGER NOT NULL, 
	progress INTEGER NOT NULL, 
	retry_at DOUBLE, 
	workers INTEGER, 
	idempotency_key TEXT, 
	fingerprint TEXT, 
	CONSTRAINT pk_queue PRIMARY KEY (search_id), 
	CONSTRAINT uq_queue_owner_idempotency_key UNIQUE (owner, idempotency_key), 
	CONSTRAINT ck_queue_claim CHECK ((claimed_by IS NULL) = (claimed_until IS NULL)), 
	CONSTRAINT ck_queue_key CHECK ((idempotency_key IS NULL) = (fingerprint IS NULL)), 
	CONSTRAINT fk_queue_searches FOREIGN KEY(search_id) REFERENCES searches (id), 
	CONSTRAINT fk_queue_owners FOREIGN KEY(owner) REFERENCES owners (name)
);
INSERT INTO "queue" VALUES('frozen','ada',0,1,1.79536457301800704e+09,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL);
CREATE TABLE races (
	evaluation_id INTEGER NOT NULL, 
	search_id TEXT NOT NULL, 
	rival_id INTEGER NOT NULL, 
	dropped BOOLEAN, 
	fitness DOUBLE, 
	fitness_stderr DOUBLE, 
	violation DOUBLE, 
	CONSTRAINT pk_races PRIMARY KEY (evaluation_id), 
	CONSTRAINT fk_races_evaluations FOREIGN KEY(evaluation_id) REFERENCES evaluations (id), 
	CONSTRAINT fk_races_rivals FOREIGN KEY(rival_id) REFERENCES evaluations (id), 
	CONSTRAINT fk_races_searches FOREIGN KEY(search_id) REFERENCES searches (id), 
	CONSTRAINT ck_races_rival CHECK (evaluation_id <> rival_id), 
	CONSTRAINT ck_races_estimate CHECK (fitness IS NULL OR COALESCE(dropped, FALSE))
);
INSERT INTO "races" VALUES(3,'frozen',1,NULL,NULL,NULL,NULL);
CREATE TABLE searches (
	id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	status TEXT NOT NULL, 
	message TEXT, 
	scope TEXT NOT NULL, 
	base_model TEXT NOT NULL, 
	seed BIGINT NOT NULL, 
	spec TEXT NOT NULL, 
	versions TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, 
	updated_at DOUBLE NOT NULL, 
	lease_owner TEXT, 
	lease_until DOUBLE, 
	CONSTRAINT pk_searches PRIMARY KEY (id), 
	CONSTRAINT ck_searches_status CHECK (status IN ('pending', 'running', 'pausing', 'paused', 'cancelling', 'cancelled', 'finished', 'failed')), 
	CONSTRAINT ck_searches_lease CHECK ((lease_owner IS NULL) = (lease_until IS NULL))
);
INSERT INTO "searches" VALUES('frozen','sample','pending',NULL,'scope','org/base',11,'{"name":"sample","base_model":"org/base","models":["org/b","org/a"],"space":{"method":"ties","layer_groups":1,"across_layers":"step","seed":0,"layers":null,"parameters":{"weight":{"range":[0.0,1.5],"scale":"linear","per":["model"],"step":null,"integer":false,"filters":{}},"density":{"range":[0.05,1.0],"scale":"log","per":[],"step":null,"integer":false,"filters":{}}}},"objective":{"tasks":[{"task":"alpha","metric":null,"weight":1.0,"direction":null,"normalise":"none","at_least":null},{"task":"beta","metric":null,"weight":1.0,"direction":"min","normalise":"none","at_least":null}],"goal":"mean","custom":null,"include_path":null,"splits":{"search":0.6,"validation":0.2,"test":0.2},"num_fewshot":null,"fewshot_seed":1234,"limit":null,"apply_chat_template":false,"system_instruction":null,"accept_benchmark_tests":false},"strategy":{"name":"auto","sigma0":0.25,"population_size":"auto","seed":11,"asynchronous":"auto","start":{"recipes":[],"searches":[]}},"racing":{"enabled":true,"error":0.05,"lead_after":0.2,"blocks":10},"budget":{"candidates":200,"tokens":null,"hours":null,"gpu_hours":null,"patience":null},"workers":{"max":1,"cpus":1.0,"gpus":0.0,"attempts":3,"accelerator_type":null,"resources":{},"autoscale":false,"idle_minutes":10.0,"stage":"auto","runtime_env":{}},"engine":{"name":"vllm","dtype":"auto","max_model_len":null,"gpu_memory_utilization":0.85,"kv_cache_gib":0.25,"max_num_seqs":256,"tensor_parallel_size":1,"enforce_eager":null,"models_on":"auto","rank_memory_gib":null,"trust_remote_code":false,"fake_seconds":0.0},"selection":{"top":5},"calibration":{"data":"tasks","own":{},"examples":128,"max_length":512,"set":null},"out_dtype":null}','{"evomerge":"0"}',1.79536457263699913023e+09,1.79536457263699913023e+09,'vm:2731:3969818:c7b823e2:bc6b62de',1.79536463273198962213e+09);
CREATE TABLE task_scores (
	evaluation_id INTEGER NOT NULL, 
	task TEXT NOT NULL, 
	metric TEXT NOT NULL, 
	position INTEGER NOT NULL, 
	headline BOOLEAN NOT NULL, 
	value DOUBLE, 
	stderr DOUBLE, 
	n INTEGER NOT NULL, 
	CONSTRAINT pk_task_scores PRIMARY KEY (evaluation_id, task, metric), 
	CONSTRAINT fk_task_scores_evaluations FOREIGN KEY(evaluation_id) REFERENCES evaluations (id)
);
INSERT INTO "task_scores" VALUES(1,'alpha','acc',0,1,0.5,0.01,20);
INSERT INTO "task_scores" VALUES(1,'alpha','margin',1,0,1.66666666666666657414e-01,NULL,20);
INSERT INTO "task_scores" VALUES(1,'beta','ppl',2,1,5.0,0.1,20);
INSERT INTO "task_scores" VALUES(2,'alpha','acc',0,1,0.75,0.01,20);
INSERT INTO "task_scores" VALUES(2,'alpha','margin',1,0,0.25,NULL,20);
INSERT INTO "task_scores" VALUES(2,'beta','ppl',2,1,7.5,0.1,20);
CREATE TABLE tokens (
	id TEXT NOT NULL, 
	owner TEXT NOT NULL, 
	scope TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	parent TEXT, 
	note TEXT, 
	created_at DOUBLE NOT NULL, 
	expires_at DOUBLE, 
	revoked_at DOUBLE, 
	used_at DOUBLE, 
	CONSTRAINT pk_tokens PRIMARY KEY (id), 
	CONSTRAINT ck_tokens_scope CHECK (scope IN ('read', 'submit', 'admin')), 
	CONSTRAINT fk_tokens_owners FOREIGN KEY(owner) REFERENCES owners (name), 
	CONSTRAINT fk_tokens_tokens FOREIGN KEY(parent) REFERENCES tokens (id)
);
INSERT INTO "tokens" VALUES('2d6556cec777','ada','submit','25fd6f47aa36de4c00583424369693308f946e4f3b1cb2f87b907f7015a16870',NULL,'laptop',1.79536457304500341415e+09,1.79536817304500341411e+09,NULL,NULL);
CREATE INDEX ix_searches_name ON searches (name);
CREATE INDEX ix_searches_scope ON searches (scope);
CREATE INDEX ix_candidates_search_id_recipe_id ON candidates (search_id, recipe_id);
CREATE INDEX ix_evaluations_copied_from ON evaluations (copied_from);
CREATE INDEX ix_evaluations_recipe_id_split ON evaluations (recipe_id, split);
CREATE UNIQUE INDEX uq_evaluations_recipe_once ON evaluations (search_id, recipe_id, split) WHERE copied_from IS NULL;
CREATE UNIQUE INDEX uq_attempts_one_running ON attempts (evaluation_id) WHERE status = 'running';
CREATE UNIQUE INDEX uq_attempts_one_scored ON attempts (evaluation_id) WHERE status = 'scored';
CREATE INDEX ix_task_scores_task_headline ON task_scores (task, headline);
CREATE INDEX ix_races_search_id_dropped ON races (search_id, dropped);
CREATE INDEX ix_evaluations_progress ON evaluations (search_id, split, status);
CREATE INDEX ix_evaluations_ranked ON evaluations (search_id, split, violation, fitness);
CREATE INDEX ix_tokens_owner ON tokens (owner);
CREATE INDEX ix_tokens_parent ON tokens (parent);
CREATE INDEX ix_queue_wanted ON queue (wanted);
CREATE INDEX ix_events_search_id_id ON events (search_id, id);
CREATE INDEX ix_exports_status ON exports (status);
CREATE INDEX ix_evaluations_course ON evaluations (search_id, split, candidate_id, copied_from, violation, fitness);
CREATE INDEX ix_attempts_mishaps ON attempts (finished_at) WHERE status IN ('failed', 'lost', 'late');
COMMIT;
