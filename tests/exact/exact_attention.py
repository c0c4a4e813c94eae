"""Every measure of a kernel, and of logits in parts, in 50 digits from explicit matrices."""

from __future__ import annotations

from dataclasses import dataclass

from exact_numbers import (
    Number,
    Table,
    Vector,
    columns,
    dot,
    mean,
    minus,
    mp,
    plus,
    solved,
    times,
)

Kernel = Table  # K[t][s], a row's keys only as far as it may attend


def products(queries: Table, keys: Table, *, causal: bool) -> Kernel:
    """Return q_t·k_s."""
    return [[dot(q, k) for k in (keys[: t + 1] if causal else keys)] for t, q in enumerate(queries)]


def by_distance(profile: Vector, *, causal: bool) -> Kernel:
    """Return f(s - t), the profile at offsets -(L-1) … 0 or L-1."""
    length = len(profile) if causal else (len(profile) + 1) // 2
    return [
        [profile[s - t + length - 1] for s in range(t + 1 if causal else length)]
        for t in range(length)
    ]


def added(*kernels: Kernel) -> Kernel:
    of_rows = zip(*kernels, strict=True)
    return [[mp.fsum(values) for values in zip(*rows, strict=True)] for rows in of_rows]


def row_centred(kernel: Kernel) -> Kernel:
    return [[value - mean(row) for value in row] for row in kernel]


def inner(a: Kernel, b: Kernel) -> Number:
    return mp.fsum(dot(x, y) for x, y in zip(a, b, strict=True))


@dataclass(frozen=True)
class Measures:
    """What the contract's formulas say of one kernel."""

    profile: Vector
    distance_part: Vector
    relative_share: Number
    half_distance: int
    symmetry: Number | None
    peak_offset: int


def measures(kernel: Kernel) -> Measures:
    length, causal = len(kernel), len(kernel[0]) == 1
    offsets = list(range(1 - length, 1 if causal else length))
    at: dict[int, Vector] = {k: [] for k in offsets}
    for t, row in enumerate(kernel):
        for s, value in enumerate(row):
            at[s - t].append(value)
    profile = [mean(at[k]) for k in offsets]
    f = distance_fit(kernel, offsets)
    rows = row_centred(kernel)
    left = row_centred(
        [
            [value - f[s - t - offsets[0]] for s, value in enumerate(row)]
            for t, row in enumerate(kernel)
        ]
    )
    return Measures(
        profile=profile,
        distance_part=f,
        relative_share=1 - inner(left, left) / inner(rows, rows),
        half_distance=half_distance(profile, causal=causal),
        symmetry=None if causal else symmetry(profile),
        peak_offset=peak_offset(profile, offsets),
    )


def distance_fit(kernel: Kernel, offsets: list[int]) -> Vector:
    """Return f of the least-squares fit c_t + f(s - t), with mean 0 over pairs.

    The normal equations after c_t is eliminated, f(0) held at 0: of the centred indicators of
    each other offset, with one another and with K.
    """
    free = [k for k in offsets if k]
    normal = [[mp.mpf(0)] * len(free) for _ in free]
    right = [[mp.mpf(0)] for _ in free]
    count = dict.fromkeys(offsets, 0)
    for t, row in enumerate(kernel):
        present, middle = [s - t for s in range(len(row))], mean(row)
        for k in present:
            count[k] += 1
        for i, k in enumerate(free):
            if k not in present:
                continue
            right[i][0] += row[k + t] - middle
            normal[i][i] += 1
            for j, other in enumerate(free):
                if other in present:
                    normal[i][j] -= mp.mpf(1) / len(row)
    found = {k: value[0] for k, value in zip(free, solved(normal, right), strict=True)} | {
        0: mp.mpf(0)
    }
    offset = mp.fsum(count[k] * found[k] for k in offsets) / sum(count.values())
    return [found[k] - offset for k in offsets]


# The nearest of values that are within this share of the range of the largest is the maximum.
TIE = mp.mpf("1e-9")


def peak_offset(profile: Vector, offsets: list[int]) -> int:
    """Return the offset of the maximum; if tied, the nearest one, then the earlier key."""
    least = max(profile) - TIE * (max(profile) - min(profile))
    tied = [k for k, value in zip(offsets, profile, strict=True) if value >= least]
    return min(tied, key=lambda k: (abs(k), k))


def half_distance(profile: Vector, *, causal: bool) -> int:
    length = len(profile) if causal else (len(profile) + 1) // 2
    values = [
        profile[length - 1 - d]
        if causal
        else (profile[length - 1 - d] + profile[length - 1 + d]) / 2
        for d in range(length)
    ]
    slack = TIE * (max(values) - min(values))
    halfway = (min(values) + max(values)) / 2 + slack
    peak = next(d for d in range(length) if values[d] >= max(values) - slack)
    return next((d for d in range(peak + 1, length) if values[d] <= halfway), length)


def symmetry(profile: Vector) -> Number:
    """Σ e² ÷ Σ (f - f̄)² over offsets, e the even part of f - f̄."""
    f = [value - mean(profile) for value in profile]
    even = [(a + b) / 2 for a, b in zip(f, f[::-1], strict=True)]
    return dot(even, even) / dot(f, f)


def rotated_mean(query: Vector, key: Vector, frequencies: Vector, offset: int) -> Number:
    """Return q̄ᵀ R(k) k̄, coordinates 2i and 2i + 1 turned together by θ_i k."""
    total = mp.mpf(0)
    for i, frequency in enumerate(frequencies):
        cos, sin = mp.cos(frequency * offset), mp.sin(frequency * offset)
        x, y = key[2 * i], key[2 * i + 1]
        total += query[2 * i] * (cos * x - sin * y) + query[2 * i + 1] * (sin * x + cos * y)
    return total


# --- logits --------------------------------------------------------------------------------

Three = tuple[Table, Table, Table]  # content, position, constant


def shares(queries: Three, keys: Three, bias: Vector | None, *, causal: bool) -> Vector:
    """Return the shares of content with content, position with position … and of the constants."""
    K = [[products(q, k, causal=causal) for k in keys] for q in queries]
    terms = [K[0][0], K[1][1], K[0][1], K[1][0], added(K[2][0], K[2][1], K[2][2], K[0][2], K[1][2])]
    if bias is not None:
        terms[1] = added(terms[1], by_distance(bias, causal=causal))
    logits = row_centred(added(*terms))
    return [inner(row_centred(term), logits) / inner(logits, logits) for term in terms]


def layer_normed(parts: Three, gamma: Vector, beta: Vector, epsilon: Number) -> Three:
    """Return the parts through a LayerNorm whose division is taken as given."""
    found: list[Table] = [[], [], []]
    for rows in zip(*parts, strict=True):
        about = [[x - mean(row) for x in row] for row in rows]
        whole = plus(plus(about[0], about[1]), about[2])
        size = mp.sqrt(mean(x**2 for x in whole) + epsilon)
        for part, row in zip(found, about, strict=True):
            part.append([x / size * g for x, g in zip(row, gamma, strict=True)])
    return found[0], found[1], [plus(row, beta) for row in found[2]]


def projected(parts: Three, weight: Table, bias: Vector, scale: Number) -> Three:
    """Return the parts times weight, shape (dim, d_head), and times the scale; bias is constant."""
    across = columns(weight)
    of = [[times(scale, [dot(row, column) for column in across]) for row in part] for part in parts]
    return of[0], of[1], [plus(row, times(scale, bias)) for row in of[2]]


def hidden_shares(states: list[Table]) -> Vector:
    """Return the shares of pos, ctx and resid of hidden states, by context and position."""
    contexts, length = len(states), len(states[0])

    def average(rows: list[Vector]) -> Vector:
        return [mean(values) for values in columns(rows)]

    mu = average([row for rows in states for row in rows])
    pos = [minus(average([rows[t] for rows in states]), mu) for t in range(length)]
    ctx = [minus(average(rows), mu) for rows in states]
    sums = [mp.mpf(0)] * 3
    for c in range(contexts):
        for t in range(length):
            rest = minus(minus(minus(states[c][t], mu), pos[t]), ctx[c])
            sums = plus(sums, [dot(part, part) for part in (pos[t], ctx[c], rest)])
    return [value / mp.fsum(sums) for value in sums]
