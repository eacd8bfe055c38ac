-- The ten questions of SemBench's movie scenario. `judged` is the table of reviews with the `sentiment` and the `score`
-- (1 to 5) of each: what a model says, or, for what is right, the labels.

--- Q1 five clearly positive reviews
select reviewId from judged where sentiment = 'POSITIVE' limit 5
--- Q2 five positive reviews of taken_3
select reviewId from judged where id = 'taken_3' and sentiment = 'POSITIVE' limit 5
--- Q3 number of positive reviews of taken_3
select count(*) as n from judged where id = 'taken_3' and sentiment = 'POSITIVE'
--- Q4 share of positive reviews of taken_3
select avg(if(sentiment = 'POSITIVE', 1, 0)) as share from judged where id = 'taken_3'
--- Q5 ten pairs of reviews of ant_man_and_the_wasp_quantumania with the same sentiment
select x.reviewId as one, y.reviewId as other
from judged x join judged y on x.sentiment = y.sentiment and x.reviewId <> y.reviewId
where x.id = 'ant_man_and_the_wasp_quantumania' and y.id = 'ant_man_and_the_wasp_quantumania' limit 10
--- Q6 ten pairs of reviews of ant_man_and_the_wasp_quantumania with opposite sentiments
select x.reviewId as one, y.reviewId as other from judged x join judged y on x.sentiment <> y.sentiment
where x.id = 'ant_man_and_the_wasp_quantumania' and y.id = 'ant_man_and_the_wasp_quantumania' limit 10
--- Q7 all pairs of reviews of ant_man_and_the_wasp_quantumania with opposite sentiments
select x.reviewId as one, y.reviewId as other from judged x join judged y on x.sentiment <> y.sentiment
where x.id = 'ant_man_and_the_wasp_quantumania' and y.id = 'ant_man_and_the_wasp_quantumania'
--- Q8 numbers of positive and of negative reviews of taken_3
select sentiment, count(*) as n from judged where id = 'taken_3' group by sentiment
--- Q9 score of each review of ant_man_and_the_wasp_quantumania
select reviewId, score from judged where id = 'ant_man_and_the_wasp_quantumania'
--- Q10 films by the mean score of their reviews
select id, avg(score) as mean from judged group by id order by mean desc
