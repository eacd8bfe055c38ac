-- case: trained, measured, and used on a table
select vec_dense(array(x, 1 - x)) as features, double(x > 0.5) as label from (select double(id % 2) as x from range(20)) as t;
train t as RandomForest.`${out}/forest` where keepVersion="true" and evaluateTable="t" and seed="1"
and numTrees="3" and `fitParam.0.maxDepth`="1" and fitParam.1.maxDepth="4" as told;
predict t as RandomForest.`${out}/forest` as predicted;
predict t as RandomForest.`${out}/forest` where algIndex="0" as other;
run predicted as ClassificationEvaluator.`` as measured;
select (select collect_list(value) from told where name = 'status') as status, (select count(*) from other) as n,
(select max(value) from measured where name = 'accuracy') as accuracy,
(select max(abs(vec_array(probability)[1] - label)) < 0.5 from predicted) as near as u;
-- rows:
-- [{"status": ["success", "success"], "n": 20, "accuracy": 1.0, "near": true}]

-- case: the latest version is used, arrays serve as features
-- rare
select array(double(id)) as features, double(id * 2) as label from range(10) as t;
train t as LinearRegression.`${out}/line` where keepVersion="true" and `fitParam.0.maxIter`="1" and `fitParam.0.fitIntercept`="false";
train t as LinearRegression.`${out}/line` where keepVersion="true" and evaluateTable="t" as told;
predict t as LinearRegression.`${out}/line` where autoSelectByMetric="rmse" as u;
run u as RegressionEvaluator.`` as measured;
select (select max(value) like '%_model_1/model/0' from told where name = 'modelPath') as second,
(select value < 0.001 from measured where name = 'rmse') as exact as v;
-- rows:
-- [{"second": true, "exact": true}]

-- case: clusters
-- rare
select vec_dense(array(double(id div 10 * 100 + id))) as features from range(20) as t;
train t as KMeans.`${out}/means` where k="2" and seed="1";
predict t as KMeans.`${out}/means` as u;
select count(distinct prediction) as n from u as v;
-- rows:
-- [{"n": 2}]

-- case: trees and lines, each with Spark's parameters
-- rare
select array(double(id), double(id % 3)) as features, double(id % 2) as label from range(12) as t;
train t as GBTs.`${out}/gbts` where maxIter="1" and maxDepth="1";
train t as GBTClassifier.`${out}/gbts` where maxIter="1" and maxDepth="1" as trained;
train t as GBTRegressor.`${out}/trees` where maxIter="1" and maxDepth="1";
train t as LogisticRegression.`${out}/line` where maxIter="1";
predict t as GBTs.`${out}/gbts` as a;
predict t as LogisticRegression.`${out}/line` as b;
select (select count(prediction) from a) as a, (select count(prediction) from b) as b,
       (select count(*) from trained where name = 'status' and value = 'success') as trained as c;
-- rows:
-- [{"a": 12, "b": 12, "trained": 1}]

-- case: topics, a number in place of a list
select vec_dense(array(double(id), 1d)) as features from range(4) as t;
train t as LDA.`${out}/topics` where k="2" and maxIter="1" and seed="1" and docConcentration="3.0";
predict t as LDA.`${out}/topics` as u;
select count(vec_array(topicDistribution)[1]) as n from u as v;
-- rows:
-- [{"n": 4}]

-- case: recommendations
-- rare
select * from values (1, 2, 1), (1, 3, 1), (2, 2, 1), (2, 7, 1) as t(a, i, rate) as t;
train t as ALSInPlace.`${out}/als` where `fitParam.0.maxIter`="1" and `fitParam.0.userCol`="a" and `fitParam.0.itemCol`="i"
and ratingCol="rate" and evaluateTable="t" and userRec="2" and coldStartStrategy="drop";
load parquet.`${out}/als/data/userRec` as recommended;
select a, size(recommendations) as n from recommended order by a as u;
-- rows:
-- [{"a": 1, "n": 2}, {"a": 2, "n": 2}]

-- case: an unknown parameter
select vec_dense(array(1.0D)) as features, 1.0D as label as t;
train t as NaiveBayes.`${out}/bayes` where `fitParam.0.smothing`="0.5";
-- error:
-- unknown parameter smothing
-- Did you mean smoothing?

-- case: a parameter of the wrong kind
select vec_dense(array(1.0D)) as features, 1.0D as label as t;
train t as NaiveBayes.`${out}/bayes` where smoothing="much";
-- error:
-- smoothing cannot be much
-- <script>:2:44

-- case: a model that is not there
select vec_dense(array(1.0D)) as features as t;
predict t as NaiveBayes.`${out}/none` as u;
-- error:
-- there is no model in
-- Write train ... as NaiveBayes

-- case: a column that is not there
select 1 as a as t;
train t as KMeans.`${out}/means`;
-- error:
-- features
-- <script>:2:1

-- case: a model is not a function
register RandomForest.`/tmp/model` as forest;
-- error:
-- a model of RandomForest is not a function here
-- predict my_table as RandomForest
