"""Threads and posts in the admin."""

from django.contrib import admin

from board.models import Post, Thread


class PostInline(admin.TabularInline):  # type: ignore[type-arg]  # not subscriptable at run time
    """The posts of a thread."""

    model = Post
    extra = 0
    fields = ("author", "text")


@admin.register(Thread)
class ThreadAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """Threads, with their posts on the same page."""

    list_display = ("title", "author", "created")
    search_fields = ("title", "author")
    date_hierarchy = "created"
    inlines = (PostInline,)


@admin.register(Post)
class PostAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """Posts of all threads."""

    list_display = ("__str__", "thread", "created")
    list_select_related = ("thread",)
    search_fields = ("author", "text")
    autocomplete_fields = ("thread",)
