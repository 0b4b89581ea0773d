BEGIN TRANSACTION;
CREATE TABLE audit (
	seq INTEGER NOT NULL, 
	ref TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	body_digest TEXT NOT NULL, 
	written_at TEXT NOT NULL, 
	"by" TEXT NOT NULL, 
	leaf TEXT NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (ref, version)
);
INSERT INTO "audit" VALUES(1,'route:prod',1,'f3013f933b9fb80ab6d995e7ad9da36f683837ba1d81e950c943d40111eac2f0','2013-04-01T12:00:00+00:00','dana','120c4bac0b1b5c4cbb3359a4be55df269de96a311d62ccfece86c404ffadf754');
INSERT INTO "audit" VALUES(2,'route:prod',2,'2bfd14f43d17fc7cea24e0917a8879b4b2f880b8baeec1b9d90fbaad655e71bd','2013-04-01T12:00:00+00:00','wei','5a5ed5153b6decce8ba4a4ecbb8a2b161863eef8de0232ac547973d5af7dfaf7');
INSERT INTO "audit" VALUES(3,'change:CR-1',1,'9d0927097b0a474a235b82560e8c4932a5c92ddb37388a9ec92ef9b4ba796ed9','2013-04-01T12:00:00+00:00','wei','27b96d0d0bfe9835dbbbf3ffc4b04a7f50e9f2157ff4ffdcf53e8a5721be3285');
CREATE TABLE bucket (
	change TEXT NOT NULL, 
	stage TEXT NOT NULL, 
	metric TEXT NOT NULL, 
	arm TEXT NOT NULL, 
	at INTEGER NOT NULL, 
	slice TEXT NOT NULL, 
	n DOUBLE NOT NULL, 
	total DOUBLE NOT NULL, 
	squares DOUBLE NOT NULL, 
	PRIMARY KEY (change, stage, metric, arm, at, slice)
);
CREATE TABLE entry (
	ref TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	body TEXT NOT NULL, 
	written_at TEXT NOT NULL, 
	"by" TEXT NOT NULL, 
	PRIMARY KEY (ref, version)
);
INSERT INTO "entry" VALUES('route:prod',1,'{"n":0}','2013-04-01T12:00:00+00:00','dana');
INSERT INTO "entry" VALUES('route:prod',2,'{"n":1}','2013-04-01T12:00:00+00:00','wei');
INSERT INTO "entry" VALUES('change:CR-1',1,'{"author":"dana","said":"opened by dana"}','2013-04-01T12:00:00+00:00','wei');
CREATE TABLE lease (
	name TEXT NOT NULL, 
	holder TEXT NOT NULL, 
	fence INTEGER NOT NULL, 
	until DOUBLE NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "lease" VALUES('tick','one',1,1.79527937938778710366e+09);
CREATE TABLE meta (
	name TEXT NOT NULL, 
	value TEXT, 
	PRIMARY KEY (name)
);
INSERT INTO "meta" VALUES('schema','1');
COMMIT;
