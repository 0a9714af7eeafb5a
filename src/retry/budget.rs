//! Retries that a client may afford: a token bucket that operations fill and retries empty.

use crate::clock::Moment;
use crate::plan::retry::Budget;

/// The bucket of one workload. Deposits are per operation, withdrawals one token per retry or hedge.
///
/// In whole billionths of a token, so that ten deposits of 10 % are one token and not 0.9999….
#[derive(Clone, Debug)]
pub struct Bucket {
    tokens: u64,
    capacity: u64,
    deposit: u64,
    per_second: f64,
    filled: Moment,
}

const TOKEN: f64 = 1e9;

impl Bucket {
    /// A full bucket.
    pub fn new(plan: &Budget) -> Bucket {
        let capacity = (plan.capacity * TOKEN) as u64;
        Bucket {
            tokens: capacity,
            capacity,
            deposit: (plan.ratio.get() * TOKEN).round() as u64,
            per_second: plan.min.map_or(0.0, |rate| rate.get()),
            filled: Moment::START,
        }
    }

    /// An operation begins.
    pub fn deposit(&mut self) {
        self.add(self.deposit);
    }

    /// Takes the token of one retry; refused if there is none.
    pub fn withdraw(&mut self, now: Moment) -> bool {
        let elapsed = now.saturating_since(self.filled);
        self.filled = self.filled.max(now);
        // Tokens a second are billionths a nanosecond.
        self.add((self.per_second * elapsed.as_nanos() as f64) as u64);
        match self.tokens.checked_sub(TOKEN as u64) {
            Some(rest) => {
                self.tokens = rest;
                true
            }
            None => false,
        }
    }

    /// Whole tokens left.
    pub fn balance(&self) -> u64 {
        self.tokens / TOKEN as u64
    }

    fn add(&mut self, tokens: u64) {
        self.tokens = self.tokens.saturating_add(tokens).min(self.capacity);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::units::{Rate, Share};

    fn bucket(ratio: f64, min: Option<f64>, capacity: f64) -> Bucket {
        Bucket::new(&Budget {
            ratio: Share::new(ratio).unwrap(),
            min: min.map(|rate| Rate::per_second(rate).unwrap()),
            capacity,
        })
    }

    fn drain(bucket: &mut Bucket, now: Moment) -> u32 {
        (0..1_000_000).take_while(|_| bucket.withdraw(now)).count() as u32
    }

    #[test]
    fn finagle_a_share_of_ten_thousand_requests_may_be_retried() {
        for (ratio, retries) in [(0.1, 1000), (0.75, 7500), (1.0, 10_000)] {
            let mut bucket = bucket(ratio, None, 1e6);
            drain(&mut bucket, Moment::START);
            (0..10_000).for_each(|_| bucket.deposit());
            assert_eq!(drain(&mut bucket, Moment::START), retries, "{ratio}");
        }
    }

    #[test]
    fn tower_a_full_bucket_grants_100_then_one_per_five_operations() {
        let mut bucket = bucket(0.2, None, 100.0);
        assert_eq!(drain(&mut bucket, Moment::START), 100);
        for _ in 0..10 {
            for _ in 0..4 {
                bucket.deposit();
                assert!(!bucket.withdraw(Moment::START));
            }
            bucket.deposit();
            assert!(bucket.withdraw(Moment::START));
        }
    }

    #[test]
    fn linkerd_a_minimum_comes_in_with_time_up_to_the_capacity() {
        let mut bucket = bucket(0.0, Some(10.0), 20.0);
        assert_eq!(drain(&mut bucket, Moment::START), 20);
        assert_eq!(drain(&mut bucket, Moment::from_millis(99)), 0);
        assert_eq!(drain(&mut bucket, Moment::from_millis(100)), 1);
        assert_eq!(drain(&mut bucket, Moment::from_millis(60_000)), 20);
    }

    proptest! {
        /// Withdrawals never exceed what came in, and the balance never leaves 0..=capacity.
        #[test]
        fn no_more_goes_out_than_came_in(
            ratio in 0.0..=1.0f64,
            min in proptest::option::of(0.1..1000.0f64),
            capacity in 0.0..1000.0f64,
            steps in proptest::collection::vec((0u64..50_000_000, any::<bool>()), 1..300),
        ) {
            let mut bucket = bucket(ratio, min, capacity);
            let (mut now, mut granted, mut deposits) = (0, 0.0, 0.0);
            for (wait, deposit) in steps {
                now += wait;
                if deposit {
                    bucket.deposit();
                    deposits += ratio;
                } else if bucket.withdraw(Moment(now)) {
                    granted += 1.0;
                }
                prop_assert!(bucket.balance() as f64 <= capacity);
                let came_in = capacity + deposits + min.unwrap_or(0.0) * now as f64 / 1e9;
                prop_assert!(granted <= came_in + 1e-3, "{granted} of {came_in}");
            }
        }
    }
}
