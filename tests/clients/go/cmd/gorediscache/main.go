// Command gorediscache runs go-redis/cache: single loads under many callers, deadlines, deletes, a local layer.
package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-redis/cache/v9"
	"github.com/redis/go-redis/v9"

	. "millpond.invalid/clients/report"
)

var ctx = context.Background()

type pond struct {
	Name  string
	Depth int
	Blob  []byte
}

func main() {
	report := New("go-redis-cache", ModuleVersion("github.com/go-redis/cache/v9"))
	for _, protocol := range []int{2, 3} {
		client := redis.NewClient(&redis.Options{Addr: Address, Protocol: protocol})
		plain := cache.New(&cache.Options{Redis: client})
		layered := cache.New(&cache.Options{Redis: client, LocalCache: cache.NewTinyLFU(100, time.Minute)})
		run := func(name string, check func()) {
			report.Run(fmt.Sprintf("resp%d %s", protocol, name), func() {
				Good(client.FlushAll(ctx).Err())
				check()
			})
		}

		run("set and get", func() {
			want := pond{"mill", 3, make([]byte, 100_000)}
			Good(plain.Set(&cache.Item{Ctx: ctx, Key: "k", Value: want, TTL: time.Minute}))
			var got pond
			Good(plain.Get(ctx, "k", &got))
			Same(got, want)
			Between(50*time.Second, client.TTL(ctx, "k").Val(), time.Minute)
			Same(plain.Exists(ctx, "k"), true)
			Good(plain.Delete(ctx, "k"))
			Same(plain.Get(ctx, "k", &got), cache.ErrCacheMiss)
		})

		run("conditions", func() {
			Good(plain.Set(&cache.Item{Ctx: ctx, Key: "k", Value: "first", SetNX: true, TTL: time.Minute}))
			Good(plain.Set(&cache.Item{Ctx: ctx, Key: "k", Value: "second", SetNX: true, TTL: time.Minute}))
			Good(plain.Set(&cache.Item{Ctx: ctx, Key: "none", Value: "second", SetXX: true, TTL: time.Minute}))
			var got string
			Good(plain.Get(ctx, "k", &got))
			Same([]any{got, plain.Exists(ctx, "none")}, []any{"first", false})
		})

		run("once", func() {
			var loads atomic.Int64
			Together(50, func(int) {
				var got pond
				Good(plain.Once(&cache.Item{Ctx: ctx, Key: "once", Value: &got, TTL: time.Minute, Do: func(*cache.Item) (any, error) {
					loads.Add(1)
					return &pond{Name: "loaded"}, nil
				}}))
				Same(got.Name, "loaded")
			})
			Same(loads.Load(), int64(1))
		})

		run("local layer", func() {
			Good(layered.Set(&cache.Item{Ctx: ctx, Key: "near", Value: "v", TTL: time.Minute}))
			Good(client.Del(ctx, "near").Err())
			var got string
			Good(layered.Get(ctx, "near", &got))
			layered.DeleteFromLocalCache("near")
			Same(layered.Get(ctx, "near", &got), cache.ErrCacheMiss)
		})
		client.Close()
	}
	report.Print()
}
