load csv.`x` as t;

--%python
--%input=t
--%output = u
# a comment; and "quotes'
#%matplotlib inline
print(f"${price} {t}")

#%chat
#%model=qwen
Tell ${name} a story; -- not a comment
--%sql
select * from u as v;
--%visualize
--%input=v
type: bar
