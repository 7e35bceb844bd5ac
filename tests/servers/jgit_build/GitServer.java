import java.io.File;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Path;
import java.util.Collection;
import java.util.EnumSet;
import java.util.List;
import javax.servlet.DispatcherType;
import org.apache.sshd.common.keyprovider.FileKeyPairProvider;
import org.apache.sshd.server.Environment;
import org.apache.sshd.server.ExitCallback;
import org.apache.sshd.server.SshServer;
import org.apache.sshd.server.channel.ChannelSession;
import org.apache.sshd.server.command.AbstractCommandSupport;
import org.apache.sshd.server.config.keys.AuthorizedKeysAuthenticator;
import org.eclipse.jetty.server.HttpConfiguration;
import org.eclipse.jetty.server.HttpConnectionFactory;
import org.eclipse.jetty.server.SecureRequestCustomizer;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.server.handler.ContextHandlerCollection;
import org.eclipse.jetty.servlet.FilterHolder;
import org.eclipse.jetty.servlet.ServletContextHandler;
import org.eclipse.jetty.servlet.ServletHolder;
import org.eclipse.jetty.util.ssl.SslContextFactory;
import org.eclipse.jgit.http.server.GitServlet;
import org.eclipse.jgit.lib.Repository;
import org.eclipse.jgit.storage.file.FileRepositoryBuilder;
import org.eclipse.jgit.transport.UploadPack;
import org.eclipse.jgit.transport.resolver.FileResolver;

/** Arguments: folder of repositories, HTTP port, HTTPS port, PKCS12 file (password "test"), SSH port, host key, authorized_keys. */
public class GitServer {
  public static void main(String[] a) throws Exception {
    File root = new File(a[0]);
    Server server = new Server();
    ServerConnector http = new ServerConnector(server);
    http.setHost("127.0.0.1");
    http.setPort(Integer.parseInt(a[1]));
    server.addConnector(http);
    SslContextFactory.Server tls = new SslContextFactory.Server();
    tls.setKeyStorePath(a[3]);
    tls.setKeyStoreType("PKCS12");
    tls.setKeyStorePassword("test");
    HttpConfiguration secure = new HttpConfiguration();
    secure.addCustomizer(new SecureRequestCustomizer(false));
    ServerConnector https = new ServerConnector(server, tls, new HttpConnectionFactory(secure));
    https.setHost("127.0.0.1");
    https.setPort(Integer.parseInt(a[2]));
    server.addConnector(https);
    // The same repositories again under /slow, 50 ms later.
    server.setHandler(new ContextHandlerCollection(serving(root, "/slow", 50), serving(root, "/", 0)));
    server.start();
    ssh(root, Integer.parseInt(a[4]), Path.of(a[5]), Path.of(a[6])).start();
    System.out.println("ready");
    server.join();
  }

  static ServletContextHandler serving(File root, String context, long delayMs) {
    GitServlet git = new GitServlet();
    git.setRepositoryResolver(new FileResolver<>(root, true));
    ServletContextHandler handler = new ServletContextHandler();
    handler.setContextPath(context);
    handler.addServlet(new ServletHolder(git), "/*");
    if (delayMs > 0) {
      FilterHolder slow = new FilterHolder((request, answer, chain) -> {
        try {
          Thread.sleep(delayMs);
        } catch (InterruptedException stop) {
          Thread.currentThread().interrupt();
        }
        chain.doFilter(request, answer);
      });
      handler.addFilter(slow, "/*", EnumSet.of(DispatcherType.REQUEST));
    }
    return handler;
  }

  static SshServer ssh(File root, int port, Path hostKey, Path authorizedKeys) {
    SshServer server = SshServer.setUpDefaultServer();
    server.setHost("127.0.0.1");
    server.setPort(port);
    server.setKeyPairProvider(new FileKeyPairProvider(hostKey));
    server.setPublickeyAuthenticator(new AuthorizedKeysAuthenticator(authorizedKeys));
    server.setCommandFactory((channel, command) -> new UploadPackCommand(root, command));
    return server;
  }

  static class UploadPackCommand extends AbstractCommandSupport {
    private final File root;

    UploadPackCommand(File root, String command) {
      super(command, null);
      this.root = root;
    }

    @Override
    public void run() {
      int code = 0;
      String path = getCommand().replaceFirst("^git[- ]upload-pack '?/?", "").replaceFirst("'$", "");
      try (Repository repository = new FileRepositoryBuilder().setGitDir(new File(root, path)).setMustExist(true).build()) {
        UploadPack pack = new UploadPack(repository);
        String protocol = getEnvironment().getEnv().get("GIT_PROTOCOL");
        if (protocol != null) {
          pack.setExtraParameters(List.of(protocol.split(":")));
        }
        pack.upload(getInputStream(), getOutputStream(), getErrorStream());
      } catch (Exception failed) {
        code = 128;
        try {
          getErrorStream().write(("fatal: " + failed.getMessage() + "\n").getBytes());
          getErrorStream().flush();
        } catch (java.io.IOException gone) {
          code = 129;
        }
      }
      onExit(code);
    }
  }
}
