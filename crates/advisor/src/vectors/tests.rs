use super::bench::{percentile, recall};
use super::growth::fit;
use super::measure::quoted;
use super::metric::{Chosen, Metric};
use super::recommend::{Goal, advice, front};
use super::*;

const GOAL: Goal = Goal {
    evaluation: 0.95,
    memory: 0.9,
};

fn index(storage: Storage, m: u32) -> Index {
    Index {
        storage,
        m,
        ef_construction: 64,
    }
}

fn searched(index: Index, ef_search: u32, recall: f64, p50_ms: f64) -> Searched {
    Searched {
        index,
        ef_search,
        iterative: Iterative::Off,
        filtered: false,
        recall,
        p50_ms,
        p95_ms: p50_ms * 2.0,
    }
}

fn measured() -> Measured {
    let (one, two) = (index(Storage::Vector, 16), index(Storage::Vector, 32));
    let half = index(Storage::Halfvec, 16);
    let built = |index, bytes| Built {
        index,
        rows: 1_000,
        seconds: 1.0,
        bytes,
        outgrew_after: None,
    };
    Measured {
        source: "t.embedding".to_owned(),
        rows: 1_000,
        reduced: None,
        metric: Chosen::asked(Metric::Cosine),
        dimensions: 384,
        queries: 10,
        k: 10,
        pgvector: "0.8.6".to_owned(),
        source_pgvector: "0.8.1".to_owned(),
        build_memory: 1 << 20,
        exact_ms: 5.0,
        built: vec![
            built(one, 2_000_000),
            built(two, 3_000_000),
            built(half, 1_000_000),
        ],
        searched: vec![
            searched(one, 20, 0.91, 0.4),
            searched(one, 40, 0.96, 0.62),
            searched(two, 40, 0.99, 0.6),
            searched(half, 40, 0.96, 0.6),
            searched(one, 100, 0.95, 2.0),
        ],
        growth_ms: Vec::new(),
        build_bytes_a_row: Some(2_000.0),
        left_out: Vec::new(),
    }
}

#[test]
fn of_searches_as_fast_the_one_over_the_smaller_index_is_recommended() {
    let advice = advice(&measured(), GOAL).unwrap();
    assert_eq!(
        (advice.index.m, advice.evaluation.ef_search, advice.reached),
        (16, 40, true)
    );
    assert_eq!(advice.memory.ef_search, 20);
    assert_eq!(advice.smaller.unwrap().index.storage, Storage::Halfvec);
}

#[test]
fn a_goal_out_of_reach_is_said_to_be_and_the_most_is_recommended() {
    let goal = Goal {
        evaluation: 0.999,
        ..GOAL
    };
    let measured = measured();
    let advice = advice(&measured, goal).unwrap();
    assert!(!advice.reached);
    assert_eq!(advice.index.m, 32);
    let text = render::report(&measured, &advice, goal, "public.t", "embedding", 10);
    assert!(text.contains("NOT reached"), "{text}");
}

#[test]
fn the_front_has_what_nothing_beats() {
    let measured = measured();
    let recalls: Vec<f64> = front(&measured.searched)
        .iter()
        .map(|one| one.recall)
        .collect();
    assert_eq!(recalls, [0.91, 0.99]);
    assert_eq!(svg::svg(&measured).matches("<circle").count(), 5 + 3);
}

#[test]
fn growth_by_a_power_is_found_and_its_error_is_of_what_was_held_out() {
    let fitted = fit(&[(4_000, 8.0), (1_000, 2.0), (2_000, 4.0)]).unwrap();
    assert!((fitted.exponent - 1.0).abs() < 1e-9 && (fitted.at(40_000) - 80.0).abs() < 1e-6);
    assert!(fitted.held_out_error.unwrap() < 1e-9);
    let bent = fit(&[(1_000, 2.0), (2_000, 4.0), (4_000, 10.0)]).unwrap();
    assert!((bent.held_out_error.unwrap() - 0.2).abs() < 1e-9);
    assert!(fit(&[(5, 1.0)]).is_none() && fit(&[(5, 1.0), (5, 2.0)]).is_none());
}

#[test]
fn versions_with_known_faults_are_warned_of() {
    let old = faults::warning("0.8.1").unwrap();
    assert!(old.contains("corruption") && old.contains("overflow"));
    assert!(!faults::warning("0.8.3").unwrap().contains("corruption"));
    assert!(faults::warning("0.8.5").is_some());
    assert!(faults::warning("0.8.6").is_none() && faults::warning("0.10").is_none());
}

#[test]
fn recall_counts_what_is_as_near_and_never_more_than_there_was() {
    let exact = [(0.5, 2), (0.3, 1)];
    assert!((recall(&[vec![0.1, 0.5], vec![0.4]], &exact) - 2.0 / 3.0).abs() < 1e-9);
    assert!((recall(&[vec![0.5, 0.5, 0.5], vec![0.3]], &exact) - 1.0).abs() < 1e-9);
    assert!(percentile(&[], 0.5).abs() < 1e-9);
}

#[test]
fn the_sql_has_its_way_back_and_a_name_cannot_end_its_quotes() {
    let measured = measured();
    let advice = advice(&measured, GOAL).unwrap();
    let text = render::report(&measured, &advice, GOAL, "public.t", "a\"b", 10);
    for part in [
        "ON \"public\".\"t\" USING hnsw (\"a\"\"b\" vector_cosine_ops) WITH (m = 16, ef_construction = 64);",
        "DROP INDEX CONCURRENTLY IF EXISTS \"public\".pglanes_hnsw_16_64;",
        "hnsw.ef_search: 40",
        "warning: pgvector 0.8.1",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(quoted("a\".b"), "\"a\"\"\".\"b\"");
}

#[test]
fn the_distance_is_in_the_sql_and_comes_from_the_name_of_an_operator_class() {
    let mut measured = measured();
    let advice = advice(&measured, GOAL).unwrap();
    for (metric, class) in [
        (Metric::Cosine, "halfvec_cosine_ops"),
        (Metric::L2, "vector_l2_ops"),
        (Metric::InnerProduct, "vector_ip_ops"),
    ] {
        assert_eq!(Metric::of_class(class), Some(metric));
        assert_eq!(Metric::named(metric.name()), Some(metric));
        measured.metric = Chosen::asked(metric);
        let text = render::report(&measured, &advice, GOAL, "public.t", "e", 10);
        assert!(
            text.contains(&format!("vector_{}) WITH", metric.class())),
            "{text}"
        );
        assert!(
            text.contains(&format!("distance: {} (as asked for)", metric.name())),
            "{text}"
        );
    }
    assert_eq!(Metric::of_class("bit_hamming_ops"), None);
}

#[test]
fn negative_distances_are_held_against_each_other_too() {
    let exact = [(-3.0, 2)];
    assert!((recall(&[vec![-5.0, -3.0]], &exact) - 1.0).abs() < 1e-9);
    assert!((recall(&[vec![-5.0, -2.0]], &exact) - 0.5).abs() < 1e-9);
}

/// Builds over so many rows, at a millisecond a row.
fn in_proportion(sizes: &[u64]) -> Vec<Built> {
    let built = |rows: &u64| Built {
        index: index(Storage::Vector, 16),
        rows: *rows,
        seconds: *rows as f64 / 1e3,
        bytes: 1,
        outgrew_after: None,
    };
    sizes.iter().map(built).collect()
}

#[test]
fn rows_that_the_budget_is_too_small_for_are_halved_until_they_fit() {
    let smaller = in_proportion(&plan::pilots(16_000));
    assert_eq!(smaller.len(), 2);
    assert_eq!(plan::rows_that_fit(&smaller, 16_000, 20.0), (16_000, None));
    let (rows, reduced) = plan::rows_that_fit(&smaller, 16_000, 5.0);
    let reduced = reduced.unwrap();
    assert_eq!((rows, reduced.all), (4_000, 16_000));
    assert!((reduced.predicted - 16.0).abs() < 1e-6);
    // Not even the smallest: it was built once.
    assert_eq!(plan::rows_that_fit(&smaller, 16_000, 0.0).0, 1_000);
    // Nothing is known of few rows.
    assert_eq!(plan::pilots(600), [0; 0]);
    assert_eq!(plan::rows_that_fit(&[], 600, 0.0), (600, None));
}

#[test]
fn what_is_left_out_is_said_with_what_it_would_have_taken() {
    let mut measured = measured();
    let large = index(Storage::Vector, 64);
    let predicted = plan::predicted(large, &measured.built, 1_000).unwrap();
    assert!(predicted > 1.0, "{predicted}");
    assert_eq!(plan::predicted(large, &measured.built, 2_000), None);
    measured.left_out.push(LeftOut {
        index: large,
        predicted,
        left: 0.5,
        begun: false,
    });
    measured.reduced = Some(Reduced {
        all: 4_000,
        predicted: 9.0,
        left: 3.0,
    });
    let text = render::trade_off(&measured);
    for part in [
        "measured on 1000 of the 4000 rows",
        "m 64, ef_construction 64: not begun; predicted to take",
        "0.5 s of the budget were left",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn the_share_that_is_done_rises_by_cost_to_all_of_it() {
    let indexes = [16, 32, 64].map(|m| index(Storage::Vector, m));
    let mut plan = plan::Plan::of(&indexes, 10.0, 1.0);
    let mut before = -1.0;
    // Three indexes, the second left out, and three builds of the growth.
    for step in 0..6 {
        let is_done = step != 1;
        let parts: &[f64] = if is_done { &[0.0, 0.5, 1.0] } else { &[0.0] };
        for &part in parts {
            let share = plan.share(part);
            assert!(share >= before && share <= 1.0, "{share} after {before}");
            before = share;
        }
        plan.next(is_done);
    }
    assert!((plan.share(0.0) - 1.0).abs() < 1e-9);
}
