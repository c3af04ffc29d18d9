//! The machine's peak: multiply-adds in registers alone, the upper bound for kernels that read memory.

use std::time::{Duration, Instant};

use super::exec::Exec;
use super::geometry::LANES;
use super::isa::Kernel;
use super::simd::Simd;

/// Independent sums, where many registers hold them and where few do: at least the latency of a multiply-add times its throughput.
const SUMS: [usize; 2] = [12, 6];
/// Multiply-adds of each sum between two readings of the clock.
const STEPS: usize = 20_000;

struct Burst;

impl Kernel for Burst {
    /// How many sums there were, and what all their lanes add up to.
    type Output = (usize, f32);

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> (usize, f32) {
        match S::REGISTERS >= 32 {
            true => (SUMS[0], Self::sums::<S, { SUMS[0] }>(s)),
            false => (SUMS[1], Self::sums::<S, { SUMS[1] }>(s)),
        }
    }
}

impl Burst {
    #[inline(always)]
    fn sums<S: Simd, const N: usize>(s: S) -> f32 {
        // Each sum converges to b / (1 - a): no overflow, no denormals.
        let (a, b) = (s.splat(0.5), s.splat(std::hint::black_box(1.0)));
        let mut sums = [s.splat(0.0); N];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = s.fma(*sum, a, b);
            }
        }
        let total = sums.into_iter().fold(s.splat(0.0), |total, sum| s.add(total, sum));
        let mut lanes = [0.0; LANES];
        s.store(&mut lanes, total);
        lanes.iter().sum()
    }
}

/// Multiply-adds per second of all threads of `exec` together, measured for about `time` (after as long a warm-up).
pub fn peak(exec: &Exec<'_>, time: Duration) -> f64 {
    let threads = exec.pool.threads();
    let (sums, _) = exec.isa.run(Burst);
    let run = || exec.for_each_task(threads, |_, _| _ = std::hint::black_box(exec.isa.run(Burst)));
    let mut best = f64::INFINITY;
    let end = Instant::now() + 2 * time;
    while Instant::now() < end {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    (threads * sums * STEPS * LANES) as f64 / best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Isa, Pool};

    #[test]
    fn every_level_computes_the_sums_whose_time_is_taken() {
        for isa in Isa::available() {
            // Every lane of every sum has converged to 2.
            let (sums, total) = isa.run(Burst);
            assert_eq!(total, (2 * sums * LANES) as f32, "{}", isa.name());
        }
    }

    #[test]
    fn a_rate_is_returned() {
        let pool = Pool::new(2);
        assert!(peak(&Exec::new(&pool, Isa::best()), Duration::from_millis(2)) > 0.0);
    }
}
