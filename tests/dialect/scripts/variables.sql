set day = '''${date.toString("yyyyMMdd")}''';
load csv.`/data/${day}/${region:eu}.csv` where `${k:header}`="${flag:true}" as t_${day};
select '${name}' as n, ${expr:1 + 1} as e, `${col}` from ${table} where x in (${list:'a', 'b'}) as out_${day};
select "\${kept}" as a, '${date.minusDays("7").toString("yyyy-MM-dd")}' as b as ab;
load csv.`${env:DATA_DIR:/tmp}/x` as x;
select '${x:{"a": 1}}' as j, /* ${not a variable} */ 1 as k; -- ${neither}
