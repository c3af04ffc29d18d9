//! Bit-Tactical: its schedule place by place, then the cycles of each.

use std::collections::BTreeSet;

use deadweight::designs::Setup;

use super::{Brick, LANES, Slow, width};

impl Slow {
    /// The steps and lanes whose activations each cycle of the schedule uses.
    fn schedule(&self, filters: &[Vec<Brick>], setup: &Setup, ahead: i64) -> Vec<BTreeSet<(usize, usize)>> {
        // The multiplexers are there, however far ahead a schedule looks.
        let [most, aside, shape] = ["lookahead", "lookaside", "shape"].map(|name| setup.get(name) as i64);
        let mut places: Vec<(i64, i64)> = vec![];
        if most > 0 {
            let (mut step, mut lane) = (1, 1);
            for i in 0..aside {
                match shape {
                    0 => {
                        places.push((step, if i % 2 == 0 { lane } else { -lane }));
                        if i % 2 == 1 {
                            lane += 1;
                            step = if step == most { 1 } else { step + 1 };
                        }
                    }
                    _ => places.push((1, -1 - i)),
                }
            }
        }
        // Nearest step first, the own lane first of a step, the others in their order.
        let mut reach = vec![];
        for step in 1..=ahead {
            reach.push((step, 0));
            reach.extend(places.iter().filter(|place| place.0 == step));
        }
        let mut left: Vec<Vec<[bool; LANES]>> = (0..self.steps())
            .map(|step| filters.iter().map(|filter| filter[step].map(|w| w.is_some_and(|w| w != 0))).collect())
            .collect();
        let (mut cycles, mut now) = (vec![], 0);
        while now < left.len() {
            let mut used = BTreeSet::new();
            for filter in 0..filters.len() {
                let mut busy = [false; LANES];
                for lane in 0..LANES {
                    if left[now][filter][lane] {
                        left[now][filter][lane] = false;
                        busy[lane] = true;
                        used.insert((now, lane));
                    }
                }
                for &(step, lanes) in &reach {
                    let from = now + step as usize;
                    if from >= left.len() {
                        continue;
                    }
                    for lane in 0..LANES {
                        let other = (lane as i64 + lanes).rem_euclid(LANES as i64) as usize;
                        if !busy[lane] && left[from][filter][other] {
                            left[from][filter][other] = false;
                            busy[lane] = true;
                            used.insert((from, other));
                        }
                    }
                }
            }
            cycles.push(used);
            now += 1;
            let mut passed = 0;
            while passed < ahead && now < left.len() && left[now].iter().flatten().all(|there| !there) {
                now += 1;
                passed += 1;
            }
        }
        cycles
    }

    pub(super) fn tactical(&self, group: usize, filters: &[Vec<Brick>], setup: &Setup) -> u64 {
        let all = (0..=setup.get("lookahead") as i64).map(|ahead| self.schedule(filters, setup, ahead));
        let schedule = all.reduce(|best, next| if next.len() < best.len() { next } else { best }).unwrap();
        let mut cycles = 0;
        for pallet in self.pallets(group, setup.get("windows")) {
            for used in &schedule {
                let mut slowest = 1;
                for &(step, lane) in used {
                    let codes: Vec<i32> = pallet.iter().flat_map(|window| window[step]).flatten().collect();
                    slowest = slowest.max(match setup.design.name {
                        "tactical-p" => width(&codes),
                        _ => pallet
                            .iter()
                            .filter_map(|window| window[step][lane])
                            .map(|a| self.terms(a))
                            .max()
                            .unwrap_or(0),
                    });
                }
                cycles += slowest;
            }
        }
        cycles
    }
}
